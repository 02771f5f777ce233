import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.details import Details, joined, read_details, slug
from runtime.lora import LoraFile
from runtime.manifest import Strength


def lora(folder: Path, **metadata: str) -> LoraFile:
    named = {key.replace("__", "."): value for key, value in metadata.items()}
    return LoraFile(folder / "Ghibli Style_v2.safetensors", "0" * 64, named, {})


def write_sidecar(folder: Path, **fields: object) -> None:
    (folder / "Ghibli Style_v2.json").write_text(json.dumps(fields))


def test_without_a_sidecar_the_file_speaks(tmp_path: Path) -> None:
    assert read_details(lora(tmp_path)) == Details(
        "ghibli-style_v2", "Ghibli Style_v2", [], Strength(), "", "", None, ""
    )
    spoken = read_details(
        lora(
            tmp_path,
            modelspec__title="Ghibli",
            modelspec__trigger_phrase="ghibli style, green",
            modelspec__license="CC0-1.0",
        )
    )
    assert (spoken.title, spoken.license) == ("Ghibli", "CC0-1.0")
    assert spoken.trigger_words == ["ghibli style", "green"]


def test_the_sidecar_and_the_picture_are_read(tmp_path: Path) -> None:
    fields = {"activation text": "a, b ,", "preferred weight": 0.6, "description": "green"}
    fields["negative text"] = "grey, blurry"
    write_sidecar(tmp_path, **fields)
    (tmp_path / "Ghibli Style_v2.webp").touch()
    details = read_details(lora(tmp_path))
    assert details.trigger_words == ["a", "b"]
    assert details.strength.default == 0.6
    assert details.description == "green"
    assert details.negative_prompt == "grey, blurry"
    assert details.picture == tmp_path / "Ghibli Style_v2.webp"


@pytest.mark.parametrize(("preferred", "default"), [(0, 0.8), (None, 0.8), (2, 2.0), (-1, -1.0)])
def test_the_slider_reaches_its_preferred_weight(
    preferred: float | None, default: float, tmp_path: Path
) -> None:
    write_sidecar(tmp_path, **{"preferred weight": preferred})  # A1111 writes 0 for "not set"
    strength = read_details(lora(tmp_path)).strength
    assert strength.default == default
    assert strength.min <= default <= strength.max


def test_what_is_asked_for_wins(tmp_path: Path) -> None:
    write_sidecar(tmp_path, **{"preferred weight": 0.6})
    details = read_details(lora(tmp_path), name="mine", strength=0.4)
    assert (details.name, details.strength.default) == ("mine", 0.4)


def test_several_loras_are_called_after_all_of_them(tmp_path: Path) -> None:
    one = replace(read_details(lora(tmp_path)), trigger_words=["a", "b"], description="green")
    two = replace(one, name="ink", title="Ink", trigger_words=["b", "c"], license="CC0-1.0")
    both = joined([one, two])
    assert (both.name, both.title) == ("ghibli-style_v2-ink", "Ghibli Style_v2 + Ink")
    assert both.trigger_words == ["a", "b", "c"]
    assert both.description == "green"
    assert both.license == "CC0-1.0"
    assert both.strength == Strength(default=1.0)


@pytest.mark.parametrize(("text", "name"), [("Añejo!", "anejo"), ("--x", "x"), ("?", "style")])
def test_slugs_are_style_names(text: str, name: str) -> None:
    assert slug(text) == name


def test_slugs_of_other_scripts_differ() -> None:
    names = [slug(text) for text in ("水墨", "赛博", "水墨 v2", "赛博 v2", "Ж")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) for name in names)
    assert names[0].startswith("style-")
    assert names[2].startswith("v2-")
