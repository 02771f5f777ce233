"""The alphas that PEFT keeps beside the weights instead of in `.alpha` tensors.

diffusers stores a PEFT config in the file's `lora_adapter_metadata`, its keys prefixed with
`unet.`; PEFT itself writes `adapter_config.json` next to `adapter_model.safetensors`.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import BadFile
from runtime.tensors import Metadata, read_bytes


@dataclass(frozen=True)
class LoraConfig:
    """`lora_alpha`, `alpha_pattern` and `use_rslora` of a PEFT config."""

    alpha: float
    patterns: Mapping[str, float]
    rank_stabilised: bool

    def effective_alpha(self, module_key: str, rank: int) -> float:
        """The alpha for which alpha / rank is the scale that PEFT uses for this module."""
        alpha = next(
            (
                value
                for name, value in self.patterns.items()
                if f".{module_key}".endswith(f".{name}")
            ),
            self.alpha,
        )
        # rsLoRA (arXiv:2312.03732) scales by alpha / sqrt(rank).
        return alpha * math.sqrt(rank) if self.rank_stabilised else alpha


def read_config(path: Path, metadata: Metadata) -> LoraConfig | None:
    """The PEFT config that belongs to a LoRA file, or None; BadFile when it makes no sense."""
    beside = path.with_name("adapter_config.json")
    if text := metadata.get("lora_adapter_metadata"):
        return _parse(text, "unet.", f"{path}: lora_adapter_metadata")
    if path.name == "adapter_model.safetensors" and beside.is_file():
        return _parse(read_bytes(beside), "", str(beside))
    return None


def _parse(text: str | bytes, prefix: str, where: str) -> LoraConfig | None:
    try:
        config = dict(json.loads(text))
        if f"{prefix}lora_alpha" not in config:
            return None
        return LoraConfig(
            alpha=_number(config[f"{prefix}lora_alpha"]),
            patterns={
                _module_name(pattern): _number(alpha)
                for pattern, alpha in (config.get(f"{prefix}alpha_pattern") or {}).items()
            },
            rank_stabilised=bool(config.get(f"{prefix}use_rslora")),
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        what = f"is no PEFT LoRA config ({error})"
        raise BadFile(what, where=where, todo="save the LoRA again") from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"alpha {ascii(value)[:40]} is no number")
    return float(value)


def _module_name(pattern: str) -> str:
    # PEFT takes any regular expression here; a stranger's is not one to run. Names are common.
    name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    if not re.fullmatch(r"[\w.]+", name):
        raise ValueError(f"alpha_pattern {ascii(pattern)[:80]} is not a plain module name")
    return name
