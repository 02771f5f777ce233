import json
from pathlib import Path

import pytest
from diffusers import UNet2DConditionModel

from exporter.pipeline import load_pipeline
from runtime.errors import BadFile
from tests.tiny import tiny_pipeline


def test_weights_are_rounded_to_what_a_bundle_stores(tiny_base: Path) -> None:
    pipeline = load_pipeline(tiny_base)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        for weight in part.parameters():
            assert (weight.half().float() == weight).all()


@pytest.mark.parametrize("channels", [5, 8])
def test_a_unet_that_sees_depth_or_another_picture_is_refused(
    channels: int, tmp_path: Path
) -> None:
    base = tiny_pipeline(tmp_path / "base", in_channels=channels)
    with pytest.raises(BadFile, match=rf"{channels} channels where the VAE has 4 .*inpainting"):
        load_pipeline(base)


def test_a_unet_with_another_condition_is_refused(tmp_path: Path) -> None:
    base = tiny_pipeline(tmp_path / "base")
    config = UNet2DConditionModel.load_config(base / "unet")
    unet = UNet2DConditionModel.from_config({**config, "class_embed_type": "timestep"})
    unet.save_pretrained(base / "unet")
    with pytest.raises(BadFile, match=r"another condition \(timestep\)"):
        load_pipeline(base)


def test_components_that_draw_nothing_need_not_be_there(tmp_path: Path) -> None:
    base = tiny_pipeline(tmp_path / "base")
    index = json.loads((base / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (base / "model_index.json").write_text(json.dumps(index))
    assert load_pipeline(base).safety_checker is None
