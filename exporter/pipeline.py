"""Loads a base's parts with diffusers, in fp32, their weights rounded to what a bundle stores."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging
from torch import nn

from runtime.errors import BadFile


def load_pipeline(base: Path) -> Any:
    """The StableDiffusionPipeline in `base`.

    Raises:
        BadFile: diffusers cannot load it.
    """
    with _loading(base):
        pipeline = StableDiffusionPipeline.from_pretrained(
            base,
            torch_dtype=torch.float32,
            safety_checker=None,
            requires_safety_checker=False,
            local_files_only=True,
        )
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        _round(part)
    return pipeline


def load_unet(base: Path) -> Any:
    """The UNet2DConditionModel in `base`.

    Raises:
        BadFile: diffusers cannot load it.
    """
    with _loading(base):
        unet = UNet2DConditionModel.from_pretrained(
            base, subfolder="unet", torch_dtype=torch.float32, local_files_only=True
        )
    _round(unet)
    return unet


@contextmanager
def _loading(base: Path) -> Iterator[None]:
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about their own deprecations
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadFile(
                f"diffusers cannot load it ({error})",
                where=str(base),
                todo="give a Stable Diffusion 1.x or 2.x pipeline in the diffusers layout",
            ) from error


def _round(module: nn.Module) -> None:
    """Rounds every parameter to fp16, in place, so that PyTorch computes with what is stored."""
    for parameter in module.parameters():
        parameter.data = parameter.data.half().float()
        parameter.requires_grad_(False)
    module.eval()
