"""Settings of a training, each checked before any work begins."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from runtime.errors import BrushletError

TARGET_SUFFIXES = (
    *("to_q", "to_k", "to_v", "to_out.0"),
    *("ff.net.0.proj", "ff.net.2"),
    *("proj_in", "proj_out"),
)
"""The UNet's transformer layers, which kohya trains by default; slot set `transformer`."""


class TrainConfig(BaseModel):
    """What to train, on what, and how; an unknown key or a bad value is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    """The style's name: letters a-z, digits, `-` and `_`."""
    data: Path
    """Folder of pictures with `metadata.jsonl` or one `.txt` caption per picture."""
    base: str = "models/base"
    """A diffusers folder, a Hugging Face id, or a `.safetensors` checkpoint."""
    base_config: Path | None = None
    """Of a checkpoint: a diffusers folder that says how it is built; else the hub's."""
    out: Path
    """The `.safetensors` file to write; sidecar and thumbnail lie beside it."""

    title: str = ""
    """Shown to people; the name when empty."""
    description: str = ""
    """One sentence about the style."""
    license: str = ""
    """SPDX name of the LoRA's licence."""
    trigger_words: str = ""
    """Words that call the style, as they stand in the captions."""
    preferred_strength: float = Field(default=0.8, gt=0, le=2)
    """Where a slider should start."""

    resolution: int = Field(default=0, ge=0, le=2048, multiple_of=8)
    """Pixels of a training picture's side; 0 takes the base's own."""
    flip: bool = True
    """Also train on mirrored pictures. Switch off where left and right matter (lettering)."""

    rank: int = Field(default=8, ge=1, le=256)
    """Width of the adapters; the file grows with it."""
    alpha: float = Field(default=8, gt=0, le=1024)
    """The update is scaled by alpha / rank; a power of two keeps fp16 style packs exact."""

    least_strength: float = Field(default=1, gt=0, le=1)
    """Each step trains at a strength between this and 1, so that the style is there where the
    slider starts and not only at its end."""

    steps: int = Field(default=500, ge=1)
    """Updates of the adapters."""
    batch_size: int = Field(default=16, ge=1)
    """Pictures a step."""
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    """The highest; SD 1.5 wants 1e-4."""
    lora_plus_ratio: float = Field(default=1, ge=1, le=100)
    """How many times as fast as `lora_A` `lora_B` learns (LoRA+, arXiv 2402.12354)."""
    warmup_steps: int = Field(default=20, ge=0)
    """Linear rise to `learning_rate`; a cosine brings it back to zero at the last step."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's (arXiv 1711.05101)."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Longer gradients are shortened to this."""
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of captions replaced by the empty prompt, so that guidance keeps working."""
    loss_weighting: Literal["uniform", "min_snr", "velocity"] = "uniform"
    """How timesteps count: alike, by min(SNR, gamma) (arXiv 2303.09556), or by the error of v
    (2202.00512), which teaches a new palette soonest, since that is decided at high noise."""
    min_snr_gamma: float = Field(default=5, gt=0)
    """The gamma of `min_snr`."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Compute type of the UNet; `auto` is bf16 where the processor has it in hardware."""
    gradient_checkpointing: bool = False
    """Half the memory for a third more time; for bases of SD 1.5's size."""
    device: str = "auto"
    """A torch device; `auto` is the first CUDA device, else the processor."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The same seed, settings and machine give the same file."""
    checkpoint_seconds: float = Field(default=30, ge=0)
    """How often the state is saved, so that a power cut costs no more than this."""

    thumbnail_prompt: str = "a castle, clouds, green hills, day"
    """What the thumbnail shows, behind the trigger words."""
    thumbnail_seed: int = Field(default=1, ge=0, lt=2**63)
    """Its start noise."""

    @model_validator(mode="after")
    def _consistent(self) -> "TrainConfig":
        if self.out.suffix != ".safetensors":
            raise ValueError(f"out must end in .safetensors, not {self.out.name!r}")
        if self.warmup_steps >= self.steps and self.warmup_steps > 0:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must be below steps ({self.steps})"
            )
        return self


def make_config(values: Mapping[str, object], where: str = "settings") -> TrainConfig:
    """Checks `values` and makes the config; BrushletError names every wrong key at once."""
    try:
        return TrainConfig.model_validate(dict(values))
    except ValidationError as error:
        raise BrushletError(
            "; ".join(_sentence(detail["loc"], detail["msg"]) for detail in error.errors()),
            where=where,
            todo="`python -m trainer --settings` lists every setting",
        ) from None


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    key = ".".join(str(part) for part in location)
    if message.startswith("Extra inputs"):
        return f"there is no setting {key!r}"
    message = message.removeprefix("Value error, ")
    return f"{key}: {message}" if key else message


def read_toml(path: Path) -> dict[str, object]:
    """Settings from a TOML file; BrushletError when it is missing or malformed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        todo = "check the path and its permissions"
        raise BrushletError(
            f"cannot be read: {error.strerror}", where=str(path), todo=todo
        ) from None
    except UnicodeDecodeError:
        todo = "save it as UTF-8 in a text editor"
        raise BrushletError("is not UTF-8", where=str(path), todo=todo) from None
    except tomllib.TOMLDecodeError as error:
        todo = "write one KEY = VALUE a line, texts in quotes"
        raise BrushletError(f"is not TOML: {error}", where=str(path), todo=todo) from None


def parse_assignments(assignments: list[str]) -> dict[str, object]:
    """`["steps=100", "seed=7"]` as a dict of strings, which the config converts."""
    values: dict[str, object] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise BrushletError(
                f"{assignment!r} is not KEY=VALUE",
                where="--set",
                todo="for example --set steps=300",
            )
        values[key.strip().replace("-", "_")] = value.strip()
    return values
