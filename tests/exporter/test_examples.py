"""Pictures that show a style: those beside its file, and those that an export draws."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from exporter.bases import find_base
from exporter.export import Mode, StyleRequest, export
from exporter.formats import export_as
from exporter.progress import silent
from exporter.sidecar import examples_beside, update_sidecar
from runtime.bundle import Bundle
from runtime.digests import altered_files
from runtime.errors import BadFile, BrushletError
from runtime.manifest import Style, Template, file_refs


def picture(path: Path, colour: str) -> Path:
    Image.new("RGB", (16, 16), colour).save(path)
    return path


@pytest.fixture
def lora(tiny_loras: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny_loras["wobble"], tmp_path / "ink.safetensors"))


def exported(tiny_base: Path, dist: Path, lora: Path, mode: Mode = "external") -> Style:
    style = StyleRequest(lora, mode, "ink", examples=True)
    export(tiny_base, dist, silent, style)
    return Bundle.open(dist).style("ink")


@pytest.mark.parametrize("mode", ["external", "merged"])
def test_an_export_draws_what_is_missing(
    mode: Mode, dist: Path, tiny_base: Path, lora: Path
) -> None:
    style = exported(tiny_base, dist, lora, mode)
    assert style.thumbnail is not None
    refs = [style.thumbnail, *style.examples]
    assert len({ref.sha256 for ref in refs}) == 4
    for ref in refs:
        with Image.open(dist / ref.url) as image:
            assert image.format == "WEBP"
    assert not altered_files(dist, file_refs(Bundle.open(dist).manifest))


def test_styles_are_drawn_alike(dist: Path, tiny_base: Path, lora: Path) -> None:
    """The same prompts from the same seeds: the same style twice is the same pictures."""
    first = exported(tiny_base, dist, lora)
    assert exported(tiny_base, dist, lora).examples == first.examples


def test_the_makers_pictures_stay(dist: Path, tiny_base: Path, lora: Path) -> None:
    thumbnail = picture(lora.with_suffix(".png"), "red")
    example = picture(lora.with_suffix(".example-1.webp"), "blue")
    style = exported(tiny_base, dist, lora)
    assert style.thumbnail is not None
    assert (dist / style.thumbnail.url).read_bytes() == thumbnail.read_bytes()
    assert [(dist / ref.url).read_bytes() for ref in style.examples] == [example.read_bytes()]


def test_nothing_is_drawn_unasked_and_old_pictures_go(
    dist: Path, tiny_base: Path, lora: Path
) -> None:
    exported(tiny_base, dist, lora)
    export(tiny_base, dist, silent, StyleRequest(lora, "external", "ink"))
    assert Bundle.open(dist).style("ink").examples == []
    assert not list((dist / "styles").glob("example-*"))


def test_examples_are_for_bundles(tiny_base: Path, lora: Path, tmp_path: Path) -> None:
    base = find_base(str(tiny_base))
    with pytest.raises(BrushletError, match="EXAMPLES"):
        export_as("optimum", base, tmp_path / "o", silent, lora, mode="merged", examples=True)


def test_the_sidecar_command_puts_pictures_beside(lora: Path, tmp_path: Path) -> None:
    pictures = [picture(tmp_path / f"{colour}.png", colour) for colour in ("red", "blue")]
    picture(lora.with_suffix(".example-3.webp"), "black")
    update_sidecar(lora, {}, examples=pictures)
    assert [path.name for path in examples_beside(lora)] == [
        "ink.example-1.png",
        "ink.example-2.png",
    ]
    assert examples_beside(lora)[1].read_bytes() == pictures[1].read_bytes()
    with pytest.raises(BrushletError, match="at most 3"):
        update_sidecar(lora, {}, examples=pictures * 2)
    with pytest.raises(BadFile, match="no picture"):
        update_sidecar(lora, {}, examples=[lora])
    assert len(examples_beside(lora)) == 2


def test_templates_stand_in_the_sidecar(dist: Path, tiny_base: Path, lora: Path) -> None:
    template: dict[str, Any] = {
        "title": "castle",
        "titles": {"zh": "古堡"},
        "prompt": "{trigger}, a castle",
    }
    lora.with_suffix(".json").write_text(json.dumps({"templates": [template]}))
    export(tiny_base, dist, silent, StyleRequest(lora, "external"))
    assert Bundle.open(dist).style("ink").templates == [Template(**template)]
    lora.with_suffix(".json").write_text('{"templates": [{"title": "castle"}]}')
    with pytest.raises(BadFile, match=r"templates\.0\.prompt"):
        export(tiny_base, dist, silent, StyleRequest(lora, "external"))
