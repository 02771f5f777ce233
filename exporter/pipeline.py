"""Loads a base's parts with diffusers, their weights rounded to what a bundle stores.

The UNet, which is most of it, stays in fp16 (in fp32 where `DTYPE` wants it, and what is rounded to
8 or 4 bits); `exporter.golden.reference_step` widens it layer by layer. The others are in fp32.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import SingleFileComponentError
from diffusers.utils import logging
from torch import nn
from transformers import CLIPTextModel

from exporter.quantisation import BITS, rounded
from exporter.slotting import is_projection
from runtime.digests import UNUSED
from runtime.errors import BadFile
from runtime.manifest import Dtype, Slot
from runtime.tensors import Array

_DIFFUSERS_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    SingleFileComponentError,
)
_WANTED = "give a Stable Diffusion 1.x or 2.x pipeline in the diffusers layout"


def load_pipeline(base: Path, dtype: Dtype = "fp16") -> Any:
    """The StableDiffusionPipeline in `base`, its UNet stored as `dtype`.

    Raises:
        BadFile: diffusers cannot load it, or its UNet takes what nobody would give it.
    """
    with loading(base):
        pipeline = StableDiffusionPipeline.from_pretrained(
            base,
            torch_dtype={"unet": _loaded(dtype), "default": torch.float32},
            **dict.fromkeys(UNUSED),
            requires_safety_checker=False,
            local_files_only=True,
            use_safetensors=True,
        )
    _check_inputs(pipeline, base)
    for part in (pipeline.vae, pipeline.text_encoder):
        _round(part)
    _round_unet(pipeline.unet, dtype)
    return pipeline


def load_unet(base: Path, dtype: Dtype = "fp16") -> Any:
    """The UNet2DConditionModel in `base`, stored as `dtype`.

    Raises:
        BadFile: diffusers cannot load it.
    """
    with loading(base):
        unet = UNet2DConditionModel.from_pretrained(
            base,
            subfolder="unet",
            torch_dtype=_loaded(dtype),
            local_files_only=True,
            use_safetensors=True,
        )
    _round_unet(unet, dtype)
    return unet


def load_text_encoder(base: Path) -> Any:
    """The CLIPTextModel in `base`.

    Raises:
        BadFile: transformers cannot load it.
    """
    with loading(base):
        text_encoder = CLIPTextModel.from_pretrained(
            base,
            subfolder="text_encoder",
            torch_dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
        )
    _round(text_encoder)
    return text_encoder


_BLOCKS = {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}


def _check_inputs(pipeline: Any, base: Path) -> None:
    """Refuses UNets with inputs or blocks beside those of Stable Diffusion 1.x and 2.x."""
    unet, latents = pipeline.unet.config, pipeline.vae.config.latent_channels
    fault = ""
    if unet.addition_embed_type or unet.class_embed_type:  # SDXL; the x4 upscaler
        kind = unet.addition_embed_type or unet.class_embed_type
        fault = f"its UNet takes another condition ({kind})"
    elif unet.in_channels not in (latents, 2 * latents + 1):  # depth, pix2pix
        fault = f"its UNet takes {unet.in_channels} channels where the VAE has {latents}"
    elif strange := set(unet.down_block_types + unet.up_block_types) - _BLOCKS:
        fault = f"its UNet has blocks that are not exported ({', '.join(sorted(strange))})"
    if fault:
        todo = "use a Stable Diffusion 1.x or 2.x base for pictures from text, or for inpainting"
        raise BadFile(fault, where=str(base), todo=todo)


def fill(model: Any, weights: Mapping[str, tuple[Slot, Array]]) -> None:
    """Puts weights in the bundle's layout into a PyTorch model; its module paths are slot names."""
    for name, (slot, weight) in weights.items():
        parameter = model.get_submodule(name).weight
        laid_out = weight.T if slot.weight.transposed else weight
        data = torch.tensor(laid_out)
        dtype = torch.promote_types(data.dtype, parameter.dtype)
        parameter.data = data.to(dtype).view_as(parameter)


def fill_biases(model: Any, biases: Mapping[str, Array]) -> None:
    """Puts biases `[out]` into the layers of a PyTorch model, by their names."""
    for name, bias in biases.items():
        parameter = model.get_submodule(name).bias
        data = torch.tensor(bias)
        parameter.data = data.to(torch.promote_types(data.dtype, parameter.dtype))


@contextmanager
def loading(base: Path, todo: str = _WANTED) -> Iterator[None]:
    """Silences diffusers, and makes its errors tell about `base` and what to do."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about their own deprecations
        try:
            yield
        except _DIFFUSERS_ERRORS as error:
            raise BadFile(
                f"diffusers cannot load it ({str(error).partition(chr(10))[0]})",
                where=str(base),
                todo=todo,
            ) from error


def _loaded(dtype: Dtype) -> torch.dtype:
    """Of the UNet's weights before they are rounded."""
    return torch.float16 if dtype == "fp16" else torch.float32


def _round_unet(unet: nn.Module, dtype: Dtype) -> None:
    """Rounds every parameter to what a bundle stores, in place."""
    unet.requires_grad_(False).eval()
    if dtype not in BITS:
        return
    for path, module in unet.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "weight" and is_projection(path, module):
                weight = rounded(parameter.flatten(1).T.numpy(), BITS[dtype])
                parameter.data = torch.tensor(weight.T).view_as(parameter)
            else:
                parameter.data = parameter.half()


def _round(module: nn.Module) -> None:
    """Rounds every parameter to fp16, in place, so that PyTorch computes with what is stored."""
    for parameter in module.parameters():
        parameter.data = parameter.data.half().float()
        parameter.requires_grad_(False)
    module.eval()
