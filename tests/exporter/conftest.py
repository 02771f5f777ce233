import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from exporter.blend import Blend, Part
from exporter.export import StyleRequest, export
from exporter.progress import silent
from runtime.bundle import Bundle
from tests.disks import disk as disk
from tests.disks import small_disk as small_disk
from tests.exporter.adapters import add
from tests.exporter.sites import build_page


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


@pytest.fixture
def dist(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle, to export into."""
    return shutil.copytree(tiny_bundle, tmp_path / "dist", copy_function=os.link)


@pytest.fixture(scope="session")
def made(
    tiny_base: Path, tiny_loras: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """FORMAT=adapter: `wobble` at 0.7, then both at weights."""
    out = tmp_path_factory.mktemp("adapter") / "native"
    first = add(tiny_base, out, tiny_loras["wobble"], 0.7)
    assert all(item.passed for item in first.parity)
    assert "base fp32 fused, high noise" in {item.what for item in first.parity}
    blend = Blend((Part(tiny_loras["wiggle"], 0.5), Part(tiny_loras["wobble"], -0.25)))
    second = add(tiny_base, out, blend)
    assert [ref.url for ref in second.written] == ["wiggle-wobble.onnx_adapter"]
    assert "not exported again" in second.notes[0]
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of `made`, to export into."""
    return shutil.copytree(made, tmp_path / "native")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return build_page(tmp_path / "page")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def add_style(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> Callable[[str], None]:
    """Exports a LoRA with a thumbnail into the bundle."""

    def add(name: str) -> None:
        lora = tmp_path / "loras" / f"{name}.safetensors"
        lora.parent.mkdir(exist_ok=True)
        shutil.copy(tiny_loras["wobble"], lora)
        Image.effect_noise((64, 64), 50).save(lora.with_suffix(".png"))
        export(tiny_base, dist, silent, StyleRequest(lora, "external"))

    return add
