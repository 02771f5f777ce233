"""The kinds that PEFT writes, as PEFT saves them, against what PEFT merges."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import _collate_lora_metadata
from peft import (
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    get_peft_model,
    get_peft_model_state_dict,
)
from transformers import CLIPTextModel

from runtime.adapters import LoraModule
from runtime.errors import BadFile
from runtime.lora import LoraFile, match_adapters, read_lora
from runtime.manifest import SlotTable
from tests.runtime.conftest import TARGETS, slot

STRENGTHS = (-0.5, 0.0, 0.7, 1.3)
CONVOLUTIONS = ("resnets.0.conv1", "resnets.0.conv_shortcut", "samplers.0.conv")
PATTERNS = {
    "alpha_pattern": {"to_q": 6, "mid_block.attentions.0.proj_in": 3},
    "rank_pattern": {"to_k": 2},
}

CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "LoRA": (LoraConfig, {"lora_alpha": 2, "init_lora_weights": False}),
    "rsLoRA": (LoraConfig, {"lora_alpha": 2, "init_lora_weights": False, "use_rslora": True}),
    "DoRA": (LoraConfig, {"lora_alpha": 2, "init_lora_weights": False, "use_dora": True}),
    "LoHa": (LoHaConfig, {"alpha": 2, "init_weights": False}),
    "LoHa with cores": (
        LoHaConfig,
        {"alpha": 2, "init_weights": False, "use_effective_conv2d": True},
    ),
    "LoKr": (LoKrConfig, {"alpha": 2, "init_weights": False}),
    "LoKr with a core": (
        LoKrConfig,
        {"alpha": 2, "init_weights": False, "use_effective_conv2d": True},
    ),
    "LoKr, both decomposed": (
        LoKrConfig,
        {"alpha": 2, "init_weights": False, "decompose_both": True, "decompose_factor": 2},
    ),
}


@pytest.fixture(scope="module")
def everything(tiny_base: Path) -> SlotTable:
    """The transformer slots and some 3x3 convolutions of the tiny UNet."""
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet", torch_dtype=torch.float32)
    slots = []
    for path, module in unet.named_modules():
        if path.endswith((*TARGETS, *CONVOLUTIONS)) and hasattr(module, "weight"):
            slots.append(slot(path, module))
    return SlotTable(slot_set="full", slots=slots)


def weights(unet: UNet2DConditionModel) -> dict[str, np.ndarray]:
    return {name: weight.numpy().copy() for name, weight in unet.state_dict().items()}


def check(lora: LoraFile, table: SlotTable, base: dict[str, Any], whole: dict[str, Any]) -> None:
    """W' = W + s * (what PEFT merges - W), to float32's sums in another order."""
    found = match_adapters(lora, table)
    assert len(found) == len(table.slots)
    for name, adapter in found.items():
        weight, merged = base[f"{name}.weight"], whole[f"{name}.weight"]
        assert np.abs(merged - weight).max() > 1e-4
        for strength in STRENGTHS:
            expected = weight + strength * (merged - weight)
            error = np.abs(adapter.apply(weight, strength) - expected).max()
            assert error <= 1e-5 * np.abs(expected).max()


@torch.no_grad()
def shake(unet: torch.nn.Module) -> None:
    """PEFT starts magnitudes at the norms, where they change nothing, and LoHa near zero."""
    torch.manual_seed(3)
    for name, parameter in unet.named_parameters():
        if "lora_magnitude_vector" in name:
            parameter *= 1 + 0.3 * torch.rand_like(parameter)
        if "hada_" in name:
            parameter *= 4


@pytest.mark.parametrize("kind", CONFIGS)
def test_peft_folders(
    kind: str, tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    base = weights(tiny_unet)
    config, options = CONFIGS[kind]
    torch.manual_seed(1)
    targets = [entry.name for entry in everything.slots]
    model = get_peft_model(tiny_unet, config(r=4, target_modules=targets, **options, **PATTERNS))
    shake(model)
    model.save_pretrained(tmp_path)
    lora = read_lora(tmp_path / "adapter_model.safetensors")
    check(lora, everything, base, weights(model.merge_and_unload()))


def test_dora_as_diffusers_saves_it(
    tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    base = weights(tiny_unet)
    torch.manual_seed(1)
    targets = [entry.name for entry in everything.slots]
    config, options = CONFIGS["DoRA"]
    tiny_unet.add_adapter(config(r=4, target_modules=targets, **options, **PATTERNS))
    shake(tiny_unet)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(tiny_unet),
        **_collate_lora_metadata({"unet": tiny_unet}),
    )
    tiny_unet.fuse_lora()
    merged = {name.replace(".base_layer", ""): w for name, w in weights(tiny_unet).items()}
    lora = read_lora(tmp_path / "pytorch_lora_weights.safetensors")
    check(lora, everything, base, merged)


def test_each_model_has_the_alphas_of_its_own_config(
    tiny_unet: UNet2DConditionModel, tiny_base: Path, tmp_path: Path
) -> None:
    text_encoder = CLIPTextModel.from_pretrained(tiny_base / "text_encoder")
    tiny_unet.add_adapter(LoraConfig(r=4, lora_alpha=2, target_modules=["to_q"]))
    patterns = {"text_model.encoder.layers.1.mlp.fc1": 3}
    text_encoder.add_adapter(
        LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "fc1"], alpha_pattern=patterns)
    )
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(tiny_unet),
        text_encoder_lora_layers=get_peft_model_state_dict(text_encoder),
        **_collate_lora_metadata({"unet": tiny_unet, "text_encoder": text_encoder}),
    )
    lora = read_lora(tmp_path / "pytorch_lora_weights.safetensors")
    for key, module in lora.modules.items():
        assert isinstance(module, LoraModule)
        pattern = 3 if key.endswith("layers.1.mlp.fc1") else 6
        assert module.alpha == (2 if key.startswith("unet.") else pattern), key


def test_ia3_of_peft(
    tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    """Of Linear layers, on outputs (biases too) and, in feed-forward layers, on inputs."""
    base = weights(tiny_unet)
    linear = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
    config = IA3Config(
        target_modules=linear, feedforward_modules=["ff.net.2"], init_ia3_weights=False
    )
    model = get_peft_model(tiny_unet, config)
    model.save_pretrained(tmp_path)
    found = match_adapters(read_lora(tmp_path / "adapter_model.safetensors"), everything)
    whole = weights(model.merge_and_unload())
    changed = {name for name in base if not np.array_equal(base[name], whole[name])}
    biased = {f"{name}.bias" for name, adapter in found.items() if adapter.touches_bias}
    assert {f"{name}.weight" for name in found} == {n for n in changed if n.endswith("weight")}
    assert {name for name in biased if name in base} == {n for n in changed if n.endswith("bias")}
    for name, adapter in found.items():
        merged = adapter.apply(base[f"{name}.weight"], 1.0)
        np.testing.assert_allclose(merged, whole[f"{name}.weight"], rtol=1e-5, atol=1e-6)
        if f"{name}.bias" in base:
            merged = adapter.apply_bias(base[f"{name}.bias"], 1.0)
            np.testing.assert_allclose(merged, whole[f"{name}.bias"], rtol=1e-5, atol=1e-6)


def test_ia3_of_peft_on_convolutions_is_refused(
    tiny_unet: UNet2DConditionModel, tmp_path: Path
) -> None:
    """`[1, n, 1, 1]` does not tell inputs from outputs where both are as many."""
    config = IA3Config(target_modules=["proj_in"], feedforward_modules=[])
    get_peft_model(tiny_unet, config).save_pretrained(tmp_path)
    with pytest.raises(BadFile, match=r"are no PEFT \(IA\)\^3, which is .* of a convolution"):
        read_lora(tmp_path / "adapter_model.safetensors")
