"""Bases of the true architectures with random weights, for tests and benchmarks without a download.

`python -m tests.sizes sd15 FOLDER` writes one. A base of full size takes 2.1 GB on disk and some
twenty seconds; a picture drawn with it is noise, but everything has its true shape and cost.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from tests.tiny import tiny_tokenizer

_VOCABULARY = 49408  # CLIP's
_SCHEDULER: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
_SD1_UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
_SD2_UNET = {
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}
_CLIP_L = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
_CLIP_H = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,  # Stable Diffusion 2 reads the one before the last
    "num_attention_heads": 16,
    "hidden_act": "gelu",
}
_LCM = {"_class_name": "LCMScheduler", "original_inference_steps": 50}
_TURBO = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
# kind -> options of UNet, text encoder and scheduler, from the configs of the checkpoints
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "sd15": (_SD1_UNET, _CLIP_L, {}),
    "sd15-inpainting": (_SD1_UNET | {"in_channels": 9}, _CLIP_L, {}),
    "lcm": (_SD1_UNET | {"time_cond_proj_dim": 256}, _CLIP_L, _LCM),
    "sd21": (_SD2_UNET | {"sample_size": 96}, _CLIP_H, {"prediction_type": "v_prediction"}),
    "sd-turbo": (_SD2_UNET | {"sample_size": 64}, _CLIP_H, _TURBO),
}


def random_unet(kind: str) -> UNet2DConditionModel:
    """The UNet of a kind, without values."""
    with torch.device("meta"):
        return UNet2DConditionModel(**KINDS[kind][0])


def random_base(folder: Path, kind: str = "sd15", seed: int = 0) -> Path:
    """Writes a base of `KINDS` to `folder`, in the diffusers layout and fp16, and returns it.

    Weights have the variance that torch's layers start with, so that activations stay of order 1.
    The same seed gives the same files.
    """
    _, text_options, scheduler_options = KINDS[kind]
    tokenizer = tiny_tokenizer(folder / "tokenizer")
    tokenizer.save_pretrained(folder / "tokenizer")
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            sample_size=512,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=_VOCABULARY,
                bos_token_id=end - 1,
                eos_token_id=end,
                pad_token_id=end,
                **text_options,
            )
        )
    generator = torch.Generator().manual_seed(seed)
    for name, module, file in (
        ("unet", random_unet(kind), "diffusion_pytorch_model"),
        ("vae", vae, "diffusion_pytorch_model"),
        ("text_encoder", text, "model"),
    ):
        (folder / name).mkdir(exist_ok=True)
        if name == "text_encoder":
            module.config.save_pretrained(folder / name)
        else:
            module.save_config(folder / name)
        save_file(
            _drawn(module, generator), folder / name / f"{file}.safetensors", {"format": "pt"}
        )
    scheduler = _SCHEDULER | scheduler_options
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler, indent=2))
    index = _INDEX | {"scheduler": ["diffusers", scheduler["_class_name"]]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def _drawn(model: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """fp16 values for every parameter of a model on the device `meta`."""
    values = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            shape = parameter.shape
            if isinstance(module, nn.Linear | nn.Conv2d) and name.endswith("weight"):
                std = 1 / math.sqrt(3 * shape[1:].numel())
                value = torch.randn(shape, generator=generator).mul_(std)
            elif isinstance(module, nn.Embedding):
                value = torch.randn(shape, generator=generator).mul_(0.02)
            else:  # norms start as the identity, biases as zero
                value = torch.full(shape, float(name.endswith("weight")))
            values[name] = value.half()
    return values


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    random_base(given.folder, given.kind)
