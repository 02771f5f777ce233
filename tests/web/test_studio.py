"""What the page keeps and takes back, and its accessibility, in a real Chromium."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.pages import page, promises
from tests.tiny import random_lora

FIELDS = (
    "Steps: 11, Sampler: DPM fast, CFG scale: 3.5, Seed: 4242, Size: 128x128, "
    'Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Lora hashes: "nobody: 0123456789ab", '
    "Version: v1.10.1"
)


def a1111_text(prompt: str) -> str:
    return f"{prompt} <lora:nobody:0.6>\nNegative prompt: fog, text\n{FIELDS}"


def parse_a1111(text: str) -> dict[str, str]:
    """Reads an infotext as A1111 does (modules/infotext_utils.py, parse_generation_parameters)."""
    *lines, last = text.strip().split("\n")
    field = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    assert len(field.findall(last)) >= 3
    parts: dict[str, list[str]] = {"Prompt": [], "Negative prompt": []}
    part = "Prompt"
    for line in lines:
        if line.startswith("Negative prompt:"):
            part, line = "Negative prompt", line.removeprefix("Negative prompt:")
        parts[part].append(line.strip())
    read = {name: "\n".join(lines) for name, lines in parts.items()}
    for name, value in field.findall(last):
        read[name] = json.loads(value) if value.startswith('"') else value
    return read


@pytest.fixture(scope="module")
def folder(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What visitors bring: a LoRA of their own, and pictures as A1111 saves them, by Pillow, in the
    three forms of text that a PNG has."""
    folder = tmp_path_factory.mktemp("studio")
    random_lora(tiny_base, folder / "mine.safetensors", ["lora_unet", "lora_te"], seed=200)
    for form, prompt in {"text": "a castle", "ztxt": "a castle", "itxt": "一座城堡"}.items():
        info = PngInfo()
        info.add_text("parameters", a1111_text(prompt), zip=form == "ztxt")
        Image.new("RGB", (8, 8), "teal").save(folder / f"a1111-{form}.png", pnginfo=info)
    return folder


@pytest.fixture(scope="module")
def studio(tiny_bundle: Path, folder: Path) -> dict[str, str]:
    with page(tiny_bundle) as url:
        return promises("page/studio.mjs", url, str(folder))


@pytest.fixture(scope="module")
def axe(tiny_bundle: Path) -> dict[str, str]:
    with page(tiny_bundle) as url:
        return promises("page/axe.mjs", url)


@pytest.mark.parametrize(
    "promise",
    [
        "pictures survive a reload, with the settings that made them",
        "a downloaded picture loads its settings back by drop, and draws the same",
        "pictures of other programs bring their settings, and what is missing is told",
        "a picture whose text is damaged is told of, and changes nothing",
        "a LoRA dropped on the page becomes a style, paints, and survives a reload",
        "a LoRA dropped beside a server is not sent there: this device reads the words",
        "a damaged LoRA dropped on the page is told of, and changes nothing",
        "a recipe saved on one visit loads on another",
        "a grid is painted, saved as one picture, and its cells are pictures",
        "a grid is cancelled within a step",
        "this device is measured, and what it keeps is listed and removed",
    ],
)
def test_the_studio_keeps_its_promises(promise: str, studio: dict[str, str]) -> None:
    assert studio.get(promise, "").startswith("kept "), studio["all"]


@pytest.mark.parametrize(
    "promise",
    [
        "WCAG AA: English, light",
        "WCAG AA: Chinese, dark, on a phone",
        "nothing is wider than the window, from 360 px on",
        "forced colours leave every control an edge",
    ],
)
def test_everybody_can_use_the_page(promise: str, axe: dict[str, str]) -> None:
    assert axe.get(promise, "").startswith("kept "), axe["all"]


def test_a_picture_tells_its_settings_as_a1111_reads_them(
    studio: dict[str, str], folder: Path, tiny_bundle: Path
) -> None:
    manifest = json.loads((tiny_bundle / "manifest.json").read_text())
    style = next(style for style in manifest["styles"] if style["kind"] == "external")
    assert (folder / "ours.png").is_file(), studio["all"]
    with Image.open(folder / "ours.png") as picture:
        told = parse_a1111(picture.text["parameters"])  # type: ignore[attr-defined]  # of a PNG
    strength = style["strength"]["default"]
    assert f"<lora:{style['name']}:{strength:g}>" in told["Prompt"]
    assert "城堡" in told["Prompt"]
    assert told["Negative prompt"] == "people"
    assert (told["Steps"], told["Seed"], told["RNG"]) == ("3", "7", "CPU")
    assert told["Model hash"] == manifest["base_hash"][:10]
    assert told["Lora hashes"] == f"{style['name']}: {style['source_sha256'][:10]}"
    side = manifest["model"]["sample_size"] * manifest["model"]["vae_scale"]
    assert told["Size"] == f"{side}x{side}"


def test_a_grid_is_one_picture_with_its_cells(studio: dict[str, str], folder: Path) -> None:
    assert (folder / "grid.png").is_file(), studio["all"]
    with Image.open(folder / "grid.png") as grid:
        assert min(grid.size) > 2 * 160  # two by two, each large enough to be named
        assert "Seed: 7" in grid.text["parameters"]  # type: ignore[attr-defined]  # of a PNG
        assert len(grid.convert("RGB").getcolors(1 << 24) or []) > 50
