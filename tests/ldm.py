"""Writes a pipeline as the single file that `ldm` checkpoints are (model.ckpt, as safetensors)."""

import re
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from exporter.slots import ldm_path

_NORMS = {"norm1": ("conv1", "in_layers.0"), "norm2": ("conv2", "out_layers.0")}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _unet_name(module: str, config: dict[str, object]) -> str:
    if module == "conv_norm_out":
        return "out.0"
    block, _, last = module.rpartition(".")
    if last in _NORMS and ".resnets." in module:
        sibling, name = _NORMS[last]
        path = ldm_path(f"{block}.{sibling}", config)
        assert path
        return f"{path.rsplit('.', 2)[0]}.{name}"
    path = ldm_path(module, config)
    assert path, module
    return path


def _vae_name(module: str, levels: int) -> str:
    name = module.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    up = re.compile(r"up_blocks\.(\d+)\.")
    name = up.sub(lambda found: f"up.{levels - 1 - int(found[1])}.", name)
    name = re.sub(r"(up\.\d+)\.resnets\.(\d+)", r"\1.block.\2", name)
    name = re.sub(r"(up\.\d+)\.upsamplers\.0", r"\1.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    if match := re.fullmatch(r"(.*)mid_block\.attentions\.0\.(.*)", name):
        name = f"{match[1]}mid.attn_1.{_ATTENTION[match[2]]}"
    return name


def write_single_file(base: Path, path: Path) -> Path:
    """Saves the pipeline in the folder `base`, with its dtype, to `path`."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float16)
    state = {}
    for key, value in pipeline.unet.state_dict().items():
        module, _, part = key.rpartition(".")
        name = _unet_name(module, pipeline.unet.config)
        state[f"model.diffusion_model.{name}.{part}"] = value
    levels = len(pipeline.vae.config.block_out_channels)
    for key, value in pipeline.vae.state_dict().items():
        module, _, part = key.rpartition(".")
        name = _vae_name(module, levels)
        if ".attn_1." in name and "norm" not in name and part == "weight":
            value = value[:, :, None, None]  # 1x1 convolutions there
        state[f"first_stage_model.{name}.{part}"] = value
    for key, value in pipeline.text_encoder.state_dict().items():
        state[f"cond_stage_model.transformer.{key}"] = value
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path
