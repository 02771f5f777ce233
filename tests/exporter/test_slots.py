import re

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from transformers import CLIPTextConfig, CLIPTextModel

from exporter.slots import (
    aliases,
    input_names,
    ldm_path,
    slot_paths,
    text_aliases,
    text_slot_paths,
)

TO_Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def sd15() -> UNet2DConditionModel:
    """Stable Diffusion 1.5's layout; `layers_per_block` 2 and four levels are the defaults."""
    with torch.device("meta"):
        return UNet2DConditionModel(cross_attention_dim=768)


def test_stable_diffusion_has_the_slots_that_kohya_trains(sd15: UNet2DConditionModel) -> None:
    paths = slot_paths([path for path, _ in sd15.named_modules()], "transformer")
    assert len(paths) == 16 * 12  # transformer blocks x (8 attention + 2 feed-forward + 2 proj)
    assert not [path for path in paths if "resnets" in path or "time_emb" in path]


def test_the_sets_hold_one_another(sd15: UNet2DConditionModel) -> None:
    modules = dict(sd15.named_modules())
    attn, transformer, full = (
        set(slot_paths(modules, name)) for name in ("attn", "transformer", "full")
    )
    assert attn < transformer < full
    assert len(attn) == 16 * 8
    assert full == {
        path
        for path, module in modules.items()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }


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
    paths = slot_paths([path for path, _ in sd15.named_modules()], "full")
    names = [name for path in paths for name in aliases(path, sd15.config)]
    assert len(names) == len(set(names))


def test_ldm_names_are_those_diffusers_understands(sd15: UNet2DConditionModel) -> None:
    paths = slot_paths([path for path, _ in sd15.named_modules()], "transformer")
    keys = {f"lora_unet_{ldm_path(path, sd15.config)}".replace(".", "_"): path for path in paths}
    blocks = {"input_blocks": "down_blocks", "output_blocks": "up_blocks"}
    theirs = _maybe_map_sgm_blocks_to_diffusers(dict(keys), sd15.config)
    assert len(theirs) == len(paths)
    for key, path in theirs.items():
        for original, ours in (blocks | {"middle_block": "mid_block"}).items():
            key = key.replace(original, ours)
        assert key == f"lora_unet_{path.replace('.', '_')}"


def test_ldm_names_are_those_of_the_original_checkpoint(sd15: UNet2DConditionModel) -> None:
    """diffusers' own conversion of a checkpoint, run backwards."""
    paths = slot_paths([path for path, _ in sd15.named_modules()], "full")
    state = {
        f"model.diffusion_model.{ldm_path(path, sd15.config)}.{part}": torch.tensor(index)
        for index, path in enumerate(paths)
        for part in ("weight", "bias")  # it asks for both
    }
    converted = convert_ldm_unet_checkpoint(state, dict(sd15.config))
    for index, path in enumerate(paths):
        assert int(converted[f"{path}.weight"]) == index


def test_out_projections_keep_the_old_processors_name(sd15: UNet2DConditionModel) -> None:
    path = TO_Q.replace("to_q", "to_out.0")
    assert re.sub("to_q$", "to_out", f"unet.{TO_Q}").replace("attn1.", "attn1.processor.") in (
        aliases(path, sd15.config)
    )


TEXT_Q = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def clip() -> list[str]:
    """The text slots of Stable Diffusion 1.5's text encoder."""
    with torch.device("meta"):
        model = CLIPTextModel(CLIPTextConfig(num_hidden_layers=12))
    return text_slot_paths(f"text_encoder.{path}" for path, _ in model.named_modules())


def test_a_text_encoder_has_the_slots_that_kohya_trains(clip: list[str]) -> None:
    assert len(clip) == 12 * 6  # kohya counts 72 text-encoder modules
    assert TEXT_Q in clip


@pytest.mark.parametrize(
    "name",
    [
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
        "text_model.encoder.layers.0.self_attn.q_proj",
        "base_model.model.text_model.encoder.layers.0.self_attn.q_proj",
        "text_encoder.text_model.encoder.layers.0.self_attn.to_q",
        "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj",
        "lycoris_text_model_encoder_layers_0_self_attn_q_proj",
    ],
)
def test_every_trainer_finds_its_name_for_text(name: str) -> None:
    assert name in text_aliases(TEXT_Q)


def test_no_alias_means_slots_of_both_models(sd15: UNet2DConditionModel, clip: list[str]) -> None:
    paths = slot_paths([path for path, _ in sd15.named_modules()], "full")
    names = [name for path in paths for name in aliases(path, sd15.config)]
    names += [name for path in clip for name in text_aliases(path)]
    assert len(names) == len(set(names))


def test_input_names_follow_the_path() -> None:
    assert input_names(TO_Q) == (f"{TO_Q}.lora_A", f"{TO_Q}.lora_B")
