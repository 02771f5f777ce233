"""The base model that a LoRA is trained on."""

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.loaders.single_file_utils import SingleFileComponentError
from diffusers.utils import logging as diffusers_logging
from rich.console import Console
from safetensors import SafetensorError

from runtime.bases import (
    CACHE_TODO,
    CONVERSION_TODO,
    conversion,
    downloaded,
    local_base,
    read_header,
    settle,
)
from runtime.commands import plain
from runtime.digests import UNUSED, base_hash
from runtime.errors import BadFile, BrushletError
from runtime.writing import writing

# diffusers, transformers and safetensors share no base class of errors.
_LOAD_ERRORS = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError),
    *(SingleFileComponentError, SafetensorError),
)
_LAYOUT_TODO = "give a Stable Diffusion 1.x or 2.x pipeline in the diffusers layout, with --base"


@dataclass(frozen=True)
class Base:
    """A frozen float32 Stable Diffusion pipeline.

    `sha256` is over the UNet's weights, so it is the same for every way of storing them.
    `base_hash` is what bundles of this base carry.
    """

    name: str
    pipeline: Any
    sha256: str
    base_hash: str

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


def load_base(
    source: str, device: torch.device, console: Console, config: Path | None = None
) -> Base:
    """Loads a diffusers folder, a Hugging Face id or a `.safetensors` checkpoint.

    Only safetensors weights are read, never pickles. A checkpoint is converted once, into the
    cache, as the exporter does, so that its bundles have the `base_hash` of this base.

    Args:
        source: what the person named.
        device: where the pipeline goes.
        console: told about a conversion, which takes a while.
        config: a diffusers folder with the configuration of a checkpoint; by default the one it
            was converted with last, or what diffusers finds on the hub.

    Raises:
        BadFile: a pickle, or something that diffusers cannot load.
        BrushletError: nothing is there, a full disk, or a UNet that cannot be trained like this.
    """
    diffusers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    path = local_base(source)
    folder = downloaded(source) if path is None else path
    if folder.is_file():
        folder = _converted(folder, config, console)
    with _loading(source, _LAYOUT_TODO):
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder,
            torch_dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            **dict.fromkeys(UNUSED),
            requires_safety_checker=False,
        )
    _refuse_other_unets(pipeline, source)
    pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)
        part.eval()
    name = Path(source).name
    return Base(name, pipeline, _weights_sha256(pipeline.unet), base_hash(folder))


def _converted(path: Path, config: Path | None, console: Console) -> Path:
    folder = conversion(path, config)
    if folder.is_dir():
        return folder
    header = read_header(path)
    if header.told_guidance:
        raise _no_lcm(str(path))
    console.print(plain(f"converting {path.name}, once, into {folder.parent}"))
    with _loading(str(path), CONVERSION_TODO):
        pipeline = StableDiffusionPipeline.from_single_file(
            str(path),
            torch_dtype=torch.float16 if header.half else torch.float32,
            config=None if config is None else str(config),
            local_files_only=config is not None,
            safety_checker=None,
            requires_safety_checker=False,
        )
    with writing(folder.parent, CACHE_TODO):
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
        try:
            pipeline.save_pretrained(unfinished, safe_serialization=True)
            settle(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@contextmanager
def _loading(source: str, todo: str) -> Iterator[None]:
    """Makes what the libraries raise a BadFile about `source`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about their own deprecations
        try:
            yield
        except _LOAD_ERRORS as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            what = f"diffusers cannot load it ({reason})"
            raise BadFile(what, where=source, todo=todo) from error


def _refuse_other_unets(pipeline: Any, source: str) -> None:
    """Refuses what the loss is wrong for, or what wants more than a noisy picture and words."""
    unet, latents = pipeline.unet.config, pipeline.vae.config.latent_channels
    if unet.time_cond_proj_dim is not None:
        raise _no_lcm(source)
    if unet.in_channels == 2 * latents + 1:
        raise BrushletError(
            f"is an inpainting base, whose UNet takes {unet.in_channels} channels",
            where=source,
            todo="train on the base that it was made from; the LoRA can be exported for both",
        )
    if unet.addition_embed_type or unet.class_embed_type or unet.in_channels != latents:
        kind = unet.addition_embed_type or unet.class_embed_type or f"{unet.in_channels} channels"
        raise BrushletError(
            f"its UNet takes what Stable Diffusion 1.x and 2.x do not have ({kind})",
            where=source,
            todo="train on a Stable Diffusion 1.x or 2.x base for pictures from text",
        )


def _no_lcm(source: str) -> BrushletError:
    return BrushletError(
        "is an LCM that is told the guidance; training on pictures would undo its distillation",
        where=source,
        todo="train on the base that it was distilled from; the LoRA can be exported for both",
    )


def _weights_sha256(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()
