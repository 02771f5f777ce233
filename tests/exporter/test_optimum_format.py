"""FORMAT=optimum: what `ORTStableDiffusionPipeline` makes of the folder, against diffusers."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from exporter import optimum_format
from exporter.bases import find_base
from exporter.blend import Blend, Part, read_mixture
from exporter.folder import RECEIPT, read_receipt
from exporter.optimum_format import export_optimum
from exporter.progress import silent
from tests.exporter.test_staging import listing
from tests.parity.reference import Reference, psnr

STRENGTHS = {"wiggle": 0.7, "wobble": 0.4}
pytestmark = pytest.mark.filterwarnings("ignore")  # Optimum and diffusers about each other


@pytest.fixture(scope="module")
def folder(
    tiny_base: Path, tiny_loras: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("optimum") / "pipeline"
    blend = Blend(tuple(Part(tiny_loras[name], weight) for name, weight in STRENGTHS.items()))
    report = export_optimum(find_base(str(tiny_base)), out, silent, read_mixture(blend))
    assert all(item.passed for item in report.parity)
    assert len(report.parity) == 6
    return out


def picture(pipeline: object) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    return pipeline(
        "a castle",
        num_inference_steps=20,
        guidance_scale=7.5,
        latents=latents,
        height=64,
        width=64,
        output_type="np",
    ).images[0]


def from_optimum(folder: Path) -> np.ndarray:
    from optimum.onnxruntime import ORTStableDiffusionPipeline

    return picture(ORTStableDiffusionPipeline.from_pretrained(folder))


def test_the_folder_draws_what_diffusers_draws(
    folder: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    reference = Reference(tiny_base, tiny_loras)
    reference.style(STRENGTHS)
    found = from_optimum(folder)
    assert psnr(found, picture(reference.pipeline)) >= 60
    reference.style({})
    assert psnr(found, picture(reference.pipeline)) < 50  # or the comparison would say nothing


def test_without_a_lora_it_is_the_base(folder: Path, tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain"
    export_optimum(find_base(str(tiny_base)), out, silent)
    assert psnr(from_optimum(out), picture(Reference(tiny_base).pipeline)) >= 60
    assert set(listing(out)) == set(listing(folder))


def test_the_folder_holds_no_more_than_it_says(folder: Path, tiny_base: Path) -> None:
    receipt = read_receipt(folder)
    assert receipt is not None
    assert set(listing(folder)) == {ref.url for ref in receipt.files} | {RECEIPT}
    assert len(receipt.parity) == 6
    unet = onnx.load(folder / "unet" / "model.onnx", load_external_data=False)
    names = [value.name for value in unet.graph.input]
    assert names == ["sample", "timestep", "encoder_hidden_states"]
    for path in folder.rglob("*.json"):
        assert str(tiny_base) not in path.read_text()
        json.loads(path.read_text())


def test_an_interrupt_leaves_the_folder(
    folder: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listing(folder)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optimum_format, "base_bundle", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_optimum(find_base(str(tiny_base)), folder, silent)
    assert listing(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
