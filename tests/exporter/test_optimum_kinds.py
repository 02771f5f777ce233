"""FORMAT=optimum of bases that are no plain text-to-picture pipelines, loaded by their class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelPipeline, StableDiffusionInpaintPipeline
from PIL import Image

from exporter.bases import find_base
from exporter.blend import read_mixture
from exporter.optimum_format import export_optimum
from exporter.progress import silent
from tests.parity.reference import Reference, psnr
from tests.tiny import tiny_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # Optimum and diffusers about each other
SIZE = {"width": 64, "height": 64}


def both(reference: Any, folder: Path, name: str, **asked: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of diffusers and of Optimum, which finds the pipeline's class by itself."""
    from optimum.onnxruntime import ORTDiffusionPipeline

    ours = ORTDiffusionPipeline.from_pretrained(folder)
    assert type(ours).__name__ == name
    pictures = []
    for pipeline in (reference, ours):
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(11)
        pictures.append(pipeline(**asked, generator=generator, output_type="np").images[0])
    return pictures[0], pictures[1]


def test_inpainting(inpainting_base: Path, tmp_path: Path) -> None:
    export_optimum(find_base(str(inpainting_base)), tmp_path / "out", silent)
    reference = StableDiffusionInpaintPipeline.from_pretrained(
        inpainting_base, torch_dtype=torch.float32, safety_checker=None
    )
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8))
    mask = Image.fromarray(np.repeat([[0], [255]], 32, 0).repeat(64, 1).astype(np.uint8))
    expected, found = both(
        reference,
        tmp_path / "out",
        "ORTStableDiffusionInpaintPipeline",
        prompt="a castle",
        image=image,
        mask_image=mask,
        strength=1.0,
        num_inference_steps=4,
        **SIZE,
    )
    assert psnr(found, expected) >= 60


def test_an_lcm_with_a_taesd(lcm_base: Path, tmp_path: Path) -> None:
    export_optimum(find_base(str(lcm_base)), tmp_path / "out", silent)
    reference = LatentConsistencyModelPipeline.from_pretrained(
        lcm_base, torch_dtype=torch.float32, safety_checker=None
    )
    expected, found = both(
        reference,
        tmp_path / "out",
        "ORTLatentConsistencyModelPipeline",
        prompt="a castle",
        guidance_scale=8.5,
        num_inference_steps=4,
        **SIZE,
    )
    assert psnr(found, expected) >= 60


def test_v_prediction_with_a_lora_of_the_text_encoder(
    text_loras: dict[str, Path], tmp_path: Path
) -> None:
    base = tiny_pipeline(tmp_path / "base", prediction_type="v_prediction")
    mixture = read_mixture(text_loras["accent"])
    export_optimum(find_base(str(base)), tmp_path / "out", silent, mixture)
    reference = Reference(base, {"accent": text_loras["accent"]})
    reference.style({"accent": 1.0})
    asked = {"prompt": "a castle", "num_inference_steps": 4, "guidance_scale": 5.0, **SIZE}
    name = "ORTStableDiffusionPipeline"
    expected, found = both(reference.pipeline, tmp_path / "out", name, **asked)
    assert psnr(found, expected) >= 60
    assert psnr(found, both(Reference(base).pipeline, tmp_path / "out", name, **asked)[0]) < 50
