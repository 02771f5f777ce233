import numpy as np
import pytest

from runtime._lora_kinds import model_family, unsupported_kind

ONE = np.zeros(1, np.float32)
UNET = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (f"{UNET}.oft_blocks", "OFT"),
        ("unet.a.oft_R.default.weight", "OFT"),
        (f"{UNET}.b2.weight", "GLoRA"),
        (f"{UNET}.w_norm", "normalisation-layer"),
        (f"{UNET}.bias_indices", "sparse-difference"),
        ("base_model.model.a.lora_B.bias", "biased LoRA"),
    ],
)
def test_kinds_that_are_not_supported_are_named_and_counted(key: str, kind: str) -> None:
    fault = unsupported_kind({f"{UNET}.alpha": ONE, key: ONE})
    assert fault is not None
    assert fault.what == f"is a {kind} file (1 such keys, first {key}), not supported yet"
    assert "plain LoRA" in fault.todo


@pytest.mark.parametrize(
    "key",
    [
        "model.diffusion_model.input_blocks.0.0.weight",
        "first_stage_model.decoder.conv_in.weight",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
    ],
)
def test_a_checkpoint_is_sent_to_where_it_belongs(key: str) -> None:
    fault = unsupported_kind({key: ONE})
    assert fault is not None
    assert "whole checkpoint" in fault.what
    assert "BASE=" in fault.todo


@pytest.mark.parametrize(
    "key",
    [
        f"{UNET}.lora_down.weight",
        f"{UNET}.hada_w1_a",
        f"{UNET}.diff_b",
        "unet.model.diffusion_model_like.lora_A.weight",
    ],
)
def test_what_may_be_a_lora_has_no_fault(key: str) -> None:
    assert unsupported_kind({key: ONE}) is None


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("lora_unet_double_blocks_3_img_attn_proj", "FLUX"),
        ("transformer.single_transformer_blocks.4.attn.to_q", "FLUX"),
        ("lora_unet_joint_blocks_0_context_block_attn_qkv", "Stable Diffusion 3"),
        ("transformer.transformer_blocks.0.attn.add_q_proj", "Stable Diffusion 3 or FLUX"),
        ("unet.mid_block.attentions.0.transformer_blocks.9.attn1.to_q", "SDXL"),
        ("lora_te2_text_model_encoder_layers_31_mlp_fc1", "SDXL"),
        ("unet.add_embedding.linear_1", "SDXL"),
    ],
)
def test_families_show_in_their_keys(key: str, family: str) -> None:
    assert model_family([UNET, key], {}) == family


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"modelspec.architecture": "Flux-1-dev/lora"}, "FLUX"),
        ({"modelspec.architecture": "stable-diffusion-3-medium/lora"}, "Stable Diffusion 3"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "SDXL"),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, None),
        ({"ss_base_model_version": "sd_v1"}, None),
        ({}, None),
    ],
)
def test_or_in_their_metadata(metadata: dict[str, str], family: str | None) -> None:
    assert model_family([UNET], metadata) == family


def test_keys_come_before_metadata() -> None:
    metadata = {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}
    assert model_family(["lora_unet_double_blocks_0_img_mod_lin"], metadata) == "FLUX"


def test_the_blocks_of_stable_diffusion_are_no_other_family() -> None:
    keys = [UNET, "lora_te_text_model_encoder_layers_11_mlp_fc1", "lora_unet_mid_block_resnets_1"]
    assert model_family(keys, {}) is None
