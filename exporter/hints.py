"""What the makers of a base advise: a file of their own beside the model, and its configs."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runtime.errors import BadFile
from runtime.manifest import Hints

NAME = "brushlet.json"
# The samplers of a bundle (`exporter.samplers.RECIPES`, which would import torch) and the diffusers
# class that each is, by which a base's scheduler_config.json names the one it was made for.
SAMPLERS = {
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "dpmpp_2m_karras": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "lcm": "LCMScheduler",
}


def read_hints(base: Path) -> Hints:
    """The hints of a base: `brushlet.json`, then what its configs tell, then the defaults.

    Nothing is guessed: that a checkpoint wants one step (SD Turbo) stands in none of its configs.

    Raises:
        BadFile: the file is not what `Hints` says, or names a sampler that no bundle has.
    """
    path = base / NAME
    written: dict[str, Any] = {}
    if path.is_file():
        try:
            written = Hints.model_validate_json(path.read_bytes()).model_dump(exclude_unset=True)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise _wrong(path, f"field {field or '(all)'}: {first['msg']}") from None
        if written.get("sampler") not in (None, *SAMPLERS):
            raise _wrong(path, f"field sampler: choose one of {', '.join(SAMPLERS)}")
    return Hints.model_validate(_told(base) | written)


def _told(base: Path) -> dict[str, Any]:
    """What the configs of scheduler and UNet say."""
    scheduler = _config(base / "scheduler" / "scheduler_config.json")
    made_for = scheduler.get("_class_name")
    told: dict[str, Any] = {}
    if made_for == "DPMSolverMultistepScheduler" and not scheduler.get("use_karras_sigmas"):
        made_for = None
    for name, scheduler_class in SAMPLERS.items():
        if scheduler_class == made_for:
            told["sampler"] = name
    if made_for == "LCMScheduler":
        # Guidance was distilled in. A UNet that is told the scale starts where diffusers'
        # LatentConsistencyModelPipeline does; any other takes none.
        told_scale = _config(base / "unet" / "config.json").get("time_cond_proj_dim")
        told["guidance_scale"] = 8.5 if told_scale else 1.0
    return told


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}  # loading the pipeline tells
    return found if isinstance(found, dict) else {}


def _wrong(path: Path, what: str) -> BadFile:
    todo = 'write for example {"guidance_scale": 7.5, "prompts": ["a castle"]}, or remove it'
    return BadFile(what, where=str(path), todo=todo)
