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
UNSUPPORTED = {
    "OFT": r"\.(oft_blocks|oft_diag|oft_[rR](\.default)?(\.weight)?)$",
    "GLoRA": r"\.[ab][12]\.weight$",
    "normalisation-layer": r"\.[wb]_norm$",
    "sparse-difference": r"\.bias_(indices|values|size)$",  # LyCORIS' extraction with use_bias
    "biased LoRA": r"\.lora_[AB](\.default)?\.bias$",
}
CHECKPOINT = r"(model\.diffusion_model|first_stage_model|cond_stage_model)\."

FAMILIES = {
    "FLUX": r"(^|[._])(single_blocks|double_blocks|single_transformer_blocks)[._]",
    "Stable Diffusion 3": r"(^|[._])joint_blocks[._]",
    # FLUX's double blocks have the names of Stable Diffusion 3's in diffusers, which has no UNet.
    "Stable Diffusion 3 or FLUX": r"^(lora_)?transformer[._]|[._]add_[qkv]_proj$",
    # Only SDXL's attentions hold more than one transformer block.
    "SDXL": r"[._]transformer_blocks[._][1-9]|^lora_te2_|^text_encoder_2\.|[._]add_embedding[._]",
}
ARCHITECTURE_FIELDS = ("modelspec.architecture", "ss_base_model_version")
# How these fields begin.
ARCHITECTURES = {
    "flux": "FLUX",
    "sd3": "Stable Diffusion 3",
    "stable-diffusion-3": "Stable Diffusion 3",
    "sdxl": "SDXL",
    "stable-diffusion-xl": "SDXL",
}


def unsupported_kind(tensors: Tensors) -> Fault | None:
    """Why these tensors are no LoRA of a kind that is supported; None when they may be one."""
    for kind, pattern in UNSUPPORTED.items():
        keys = [key for key in tensors if re.search(pattern, key)]
        if keys:
            what = f"is a {kind} file ({len(keys)} such keys, first {keys[0]}), not supported yet"
            return Fault(what, "convert it to a plain LoRA, or train one")
    for key in tensors:
        if re.match(CHECKPOINT, key):
            todo = "give it as the base model (BASE=), and a LoRA file here"
            return Fault("is a whole checkpoint, not a LoRA", todo)
    return None


def model_family(module_keys: Iterable[str], metadata: Metadata) -> str | None:
    """The model family, other than Stable Diffusion 1 and 2, that a LoRA is for, if it shows."""
    keys = list(module_keys)
    for family, pattern in FAMILIES.items():
        if any(re.search(pattern, key) for key in keys):
            return family
    for field in ARCHITECTURE_FIELDS:
        for start, family in ARCHITECTURES.items():
            if metadata.get(field, "").lower().startswith(start):
                return family
    return None
