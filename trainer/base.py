"""The base model that a LoRA is trained on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from runtime.digests import base_hash
from runtime.errors import BrushletError


@dataclass(frozen=True)
class Base:
    """A frozen float32 Stable Diffusion pipeline.

    `sha256` is over the UNet's weights, so it is the same for every way of storing them.
    `base_hash` is what bundles of this base carry; None for a source that is no folder.
    """

    name: str
    pipeline: Any
    sha256: str
    base_hash: str | None

    @property
    def resolution(self) -> int:
        """Side in pixels of the pictures the base was made for."""
        scale: int = self.pipeline.vae_scale_factor
        side: int = self.pipeline.unet.config.sample_size
        return side * scale

    @property
    def prediction_type(self) -> str:
        """`epsilon`, `v_prediction` or `sample`."""
        return str(self.pipeline.scheduler.config.prediction_type)

    def noise_schedule(self) -> Any:
        """The training-time noise schedule (DDPM, arXiv 2006.11239)."""
        return DDPMScheduler.from_config(self.pipeline.scheduler.config)


def load_base(source: str, device: torch.device) -> Base:
    """Loads a diffusers folder, a Hugging Face id or a single-file checkpoint.

    Only safetensors weights are read, never pickles. BrushletError when nothing is there.
    """
    diffusers_logging.disable_progress_bar()
    load = (
        StableDiffusionPipeline.from_single_file
        if Path(source).is_file()
        else StableDiffusionPipeline.from_pretrained
    )
    try:
        pipeline = load(
            source,
            torch_dtype=torch.float32,
            use_safetensors=True,
            safety_checker=None,
            requires_safety_checker=False,
        )
    except (OSError, ValueError) as error:
        raise BrushletError(
            f"there is no base model to load: {str(error).splitlines()[0]}",
            where=source,
            todo="give a diffusers folder, a Hugging Face id or a .safetensors file with --base",
        ) from None
    pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)
        part.eval()
    known = base_hash(Path(source)) if Path(source).is_dir() else None
    return Base(Path(source).name, pipeline, _weights_sha256(pipeline.unet), known)


def _weights_sha256(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()
