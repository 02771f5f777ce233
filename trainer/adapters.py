"""LoRA adapters on the UNet, through PEFT (arXiv 2106.09685)."""

from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer

from trainer.config import TARGET_SUFFIXES

ADAPTER = "default"


def add_adapters(unet: Any, rank: int, alpha: float, seed: int) -> dict[str, torch.nn.Parameter]:
    """Attaches a LoRA to every transformer layer and returns its parameters by PEFT name.

    `lora_A` starts random from `seed`, `lora_B` at zero, so the UNet's output is unchanged.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet.add_adapter(
            LoraConfig(
                r=rank,
                lora_alpha=alpha,
                target_modules=list(TARGET_SUFFIXES),
                init_lora_weights=True,
            ),
            adapter_name=ADAPTER,
        )
    return {
        name.replace(f".{ADAPTER}.", "."): parameter
        for name, parameter in unet.named_parameters()
        if parameter.requires_grad
    }


def set_strength(unet: Any, strength: float) -> None:
    """The adapters act `strength` times as much as their alpha / rank says."""
    for module in unet.modules():
        if isinstance(module, LoraLayer):
            module.set_scale(ADAPTER, strength)


def learning_groups(
    parameters: dict[str, torch.nn.Parameter], lora_plus_ratio: float
) -> list[dict[str, Any]]:
    """The optimizer's groups: `lora_A` at `speed` 1 and `lora_B` at `lora_plus_ratio`."""
    speeds = {".lora_A.": 1.0, ".lora_B.": lora_plus_ratio}
    return [
        {"params": [p for name, p in parameters.items() if side in name], "speed": speed}
        for side, speed in speeds.items()
    ]


def to_kohya(parameters: dict[str, torch.nn.Parameter], alpha: float) -> dict[str, torch.Tensor]:
    """The adapters as fp16 tensors under kohya's names.

    `down_blocks.0.attentions.0.proj_in.lora_A.weight` [r, in] or [r, in, 1, 1] becomes
    `lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight`; `lora_B` [out, r] becomes
    `lora_up`; and each module has a scalar `alpha`.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in parameters.items():
        module, side = name.removesuffix(".weight").rsplit(".", 1)
        key = "lora_unet_" + module.replace(".", "_")
        kohya_side = {"lora_A": "lora_down", "lora_B": "lora_up"}[side]
        half = parameter.detach().to("cpu", torch.float16).contiguous()
        tensors[f"{key}.{kohya_side}.weight"] = half
        tensors[f"{key}.alpha"] = torch.tensor(alpha, dtype=torch.float16)
    return tensors
