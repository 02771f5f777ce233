"""The alphas that PEFT keeps beside the weights instead of in `.alpha` tensors.

diffusers stores a PEFT config per model in the file's `lora_adapter_metadata`, the keys prefixed
with `unet.` and `text_encoder.`; PEFT itself writes `adapter_config.json` next to
`adapter_model.safetensors`.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import BadFile
from runtime.tensors import Metadata, read_bytes


@dataclass(frozen=True)
class LoraConfig:
    """The scales of a PEFT config: `lora_alpha` (LoHa, LoKr: `alpha`), `r`, their patterns."""

    alpha: float
    patterns: Mapping[str, float]
    rank: float
    rank_patterns: Mapping[str, float]
    rank_stabilised: bool

    def effective_alpha(self, module_key: str, rank: int) -> float:
        """The alpha for which alpha / rank is the scale that PEFT uses for this module."""
        alpha = _of_module(module_key, self.patterns, self.alpha)
        # rsLoRA (arXiv:2312.03732) scales by alpha / sqrt(rank).
        return alpha * math.sqrt(rank) if self.rank_stabilised else alpha

    def scale(self, module_key: str) -> float:
        """alpha / rank of a module whose tensors do not show their rank."""
        alpha = _of_module(module_key, self.patterns, self.alpha)
        return alpha / _of_module(module_key, self.rank_patterns, self.rank)


Configs = Callable[[str], LoraConfig | None]  # module key -> its config


def read_configs(path: Path, metadata: Metadata) -> Configs:
    """The PEFT configs that belong to a LoRA file; BadFile when they make no sense."""
    beside = path.with_name("adapter_config.json")
    if text := metadata.get("lora_adapter_metadata"):
        where = f"{path}: lora_adapter_metadata"
        unet, text_encoder = (_parse(text, prefix, where) for prefix in ("unet.", "text_encoder."))
        return lambda key: text_encoder if key.startswith("text_encoder.") else unet
    if path.name == "adapter_model.safetensors" and beside.is_file():
        config = _parse(read_bytes(beside), "", str(beside))
        return lambda _key: config
    return lambda _key: None


def _parse(text: str | bytes, prefix: str, where: str) -> LoraConfig | None:
    try:
        config = dict(json.loads(text))
        kinds = [name for name in ("lora_alpha", "alpha") if f"{prefix}{name}" in config]
        if not kinds:
            return None
        return LoraConfig(
            alpha=_number(config[f"{prefix}{kinds[0]}"]),
            patterns=_patterns(config, f"{prefix}alpha_pattern"),
            rank=_positive(_number(config.get(f"{prefix}r", 1))),
            rank_patterns={
                name: _positive(rank)
                for name, rank in _patterns(config, f"{prefix}rank_pattern").items()
            },
            rank_stabilised=bool(config.get(f"{prefix}use_rslora")),
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        what = f"is no PEFT LoRA config ({error})"
        raise BadFile(what, where=where, todo="save the LoRA again") from None


def _of_module(module_key: str, patterns: Mapping[str, float], default: float) -> float:
    matching = (v for name, v in patterns.items() if f".{module_key}".endswith(f".{name}"))
    return next(matching, default)


def _patterns(config: Mapping[str, Any], field: str) -> dict[str, float]:
    return {
        _module_name(pattern): _number(value)
        for pattern, value in (config.get(field) or {}).items()
    }


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{ascii(value)[:40]} is no number")
    return float(value)


def _positive(rank: float) -> float:
    if rank < 1:
        raise ValueError(f"the rank {rank:g} is not positive")
    return rank


def _module_name(pattern: str) -> str:
    # PEFT takes any regular expression here; a stranger's is not one to run. Names are common.
    name = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    if not re.fullmatch(r"[\w.]+", name):
        raise ValueError(f"pattern {ascii(pattern)[:80]} is not a plain module name")
    return name
