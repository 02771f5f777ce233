import re

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers

from exporter.slots import aliases, input_names, ldm_path, transformer_paths

TO_Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def sd15() -> UNet2DConditionModel:
    """Stable Diffusion 1.5's layout; `layers_per_block` 2 and four levels are the defaults."""
    with torch.device("meta"):
        return UNet2DConditionModel(cross_attention_dim=768)


def test_stable_diffusion_has_the_slots_that_kohya_trains(sd15: UNet2DConditionModel) -> None:
    paths = transformer_paths(path for path, _ in sd15.named_modules())
    assert len(paths) == 16 * 12  # transformer blocks x (8 attention + 2 feed-forward + 2 proj)
    assert not [path for path in paths if "resnets" in path or "time_emb" in path]


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        f"unet.{TO_Q}",
        TO_Q,
        f"base_model.model.{TO_Q}",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q",
    ],
)
def test_every_trainer_finds_its_name(name: str, sd15: UNet2DConditionModel) -> None:
    assert name in aliases(TO_Q, sd15.config)


def test_an_alias_means_one_slot(sd15: UNet2DConditionModel) -> None:
    paths = transformer_paths(path for path, _ in sd15.named_modules())
    names = [name for path in paths for name in aliases(path, sd15.config)]
    assert len(names) == len(set(names))


def test_ldm_names_are_those_diffusers_understands(sd15: UNet2DConditionModel) -> None:
    paths = transformer_paths(path for path, _ in sd15.named_modules())
    keys = {f"lora_unet_{ldm_path(path, sd15.config)}".replace(".", "_"): path for path in paths}
    blocks = {"input_blocks": "down_blocks", "output_blocks": "up_blocks"}
    theirs = _maybe_map_sgm_blocks_to_diffusers(dict(keys), sd15.config)
    assert len(theirs) == len(paths)
    for key, path in theirs.items():
        for original, ours in (blocks | {"middle_block": "mid_block"}).items():
            key = key.replace(original, ours)
        assert key == f"lora_unet_{path.replace('.', '_')}"


def test_out_projections_keep_the_old_processors_name(sd15: UNet2DConditionModel) -> None:
    path = TO_Q.replace("to_q", "to_out.0")
    assert re.sub("to_q$", "to_out", f"unet.{TO_Q}").replace("attn1.", "attn1.processor.") in (
        aliases(path, sd15.config)
    )


def test_input_names_follow_the_path() -> None:
    assert input_names(TO_Q) == (f"{TO_Q}.lora_A", f"{TO_Q}.lora_B")
