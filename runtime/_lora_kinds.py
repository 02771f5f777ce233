"""Tells by its keys what a LoRA file is when it is not one of ours."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from runtime.tensors import Metadata, Tensors


class Fault(NamedTuple):
    """What the file is, and what to do about it."""

    what: str
    todo: str


# Key endings (LyCORIS: https://github.com/KohakuBlueleaf/LyCORIS/blob/main/docs/Algo-List.md).
_KINDS = {
    "LoHa": r"\.hada_[wt][12](_[ab])?$",
    "LoKr": r"\.lokr_[wt][12](_[ab])?$",
    "DoRA": r"\.(dora_scale|lora_magnitude_vector(\.default)?(\.weight)?)$",
    "IA3": r"\.(on_input|ia3_l(\.default)?)$",
    "full-difference": r"\.(diff|diff_b|w_norm|b_norm)$",
    "OFT": r"\.(oft_blocks|oft_diag|oft_[rR](\.default)?(\.weight)?)$",
    "GLoRA": r"\.[ab][12]\.weight$",
    "Tucker-core LoRA": r"\.lora_mid\.weight$",
    "biased LoRA": r"\.lora_[AB](\.default)?\.bias$",
}
_CHECKPOINT = r"(model\.diffusion_model|first_stage_model|cond_stage_model)\."
_DOWN = r"(lora_down|lora_A|lora_A\.default|lora\.down)\.weight$"

_FAMILIES = {
    "FLUX": r"(^|[._])(single_blocks|double_blocks|single_transformer_blocks)[._]",
    "Stable Diffusion 3": r"(^|[._])joint_blocks[._]|^transformer\.|[._]add_[qkv]_proj$",
    # Only SDXL's attentions hold more than one transformer block.
    "SDXL": r"[._]transformer_blocks[._][1-9]|^lora_te2_|^text_encoder_2\.|[._]add_embedding[._]",
}
# Beginnings of `modelspec.architecture` and `ss_base_model_version`.
_ARCHITECTURES = {
    "flux": "FLUX",
    "sd3": "Stable Diffusion 3",
    "stable-diffusion-3": "Stable Diffusion 3",
    "sdxl": "SDXL",
    "stable-diffusion-xl": "SDXL",
}


def unsupported_kind(tensors: Tensors) -> Fault | None:
    """Why these tensors are not a LoRA of Linear and 1x1 layers; None when they may be one."""
    for kind, pattern in _KINDS.items():
        keys = [key for key in tensors if re.search(pattern, key)]
        if keys:
            what = f"is a {kind} file ({len(keys)} such keys, first {keys[0]}), not supported yet"
            return Fault(what, "convert it to a plain LoRA, or train one")
    for key, tensor in tensors.items():
        if re.match(_CHECKPOINT, key):
            todo = "give it as the base model (BASE=), and a LoRA file here"
            return Fault("is a whole checkpoint, not a LoRA", todo)
        if re.search(_DOWN, key) and tensor.ndim == 4 and tensor.shape[2:] != (1, 1):
            size = "x".join(str(side) for side in tensor.shape[2:])
            what = f"adapts {size} convolutions (LoCon, first {key}), not supported yet"
            return Fault(what, "train a LoRA without convolutions (no conv_dim)")
    return None


def model_family(module_keys: Iterable[str], metadata: Metadata) -> str | None:
    """The model family, other than Stable Diffusion 1 and 2, that a LoRA is for, if it shows."""
    keys = list(module_keys)
    for family, pattern in _FAMILIES.items():
        if any(re.search(pattern, key) for key in keys):
            return family
    for field in ("modelspec.architecture", "ss_base_model_version"):
        for start, family in _ARCHITECTURES.items():
            if metadata.get(field, "").lower().startswith(start):
                return family
    return None
