"""A deliberately tiny Stable-Diffusion-layout pipeline with random weights, for tests.

Small enough for SwiftShader; true to SD 1.x in its classes, names and 1x1-conv projections.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from runtime.tensors import write_tensors

WIDTH = 32  # text hidden size and cross-attention width


def _byte_alphabet() -> list[str]:
    """The 256 printable stand-ins of byte-level BPE (GPT-2's table)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b if b in kept else next(spare)) for b in range(256)]


def tiny_tokenizer(folder: Path) -> CLIPTokenizer:
    """Writes and loads a CLIP tokenizer that knows bytes and a handful of merges."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = _byte_alphabet()
    merges = ["a s", "t l", "as tl", "c astl"]
    tokens = letters + [f"{letter}</w>" for letter in letters]
    tokens += [merge.replace(" ", "") for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    return CLIPTokenizer(folder / "vocab.json", folder / "merges.txt", model_max_length=77)


UNET_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def random_lora(base: Path, path: Path, prefixes: Sequence[str], seed: int) -> Path:
    """Writes a LoRA of random values in kohya's form, of the models with these key prefixes."""
    kinds = {
        "lora_unet": (UNet2DConditionModel, "unet"),
        "lora_te": (CLIPTextModel, "text_encoder"),
    }
    random = np.random.default_rng(seed)
    tensors = {}
    for prefix in prefixes:
        kind, folder = kinds[prefix]
        for name, module in kind.from_pretrained(base / folder).named_modules():
            if not name.endswith(UNET_TARGETS + TEXT_TARGETS):
                continue
            out, into = module.weight.shape
            key = f"{prefix}_{name.replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"] = random.normal(0, into**-0.5, (4, into))
            tensors[f"{key}.lora_up.weight"] = random.normal(0, 0.3, (out, 4))
            tensors[f"{key}.alpha"] = np.array(2.0)
    halves = {key: array.astype(np.float16) for key, array in tensors.items()}
    write_tensors(path, halves, {"ss_output_name": path.stem})
    return path


def tiny_pipeline(
    folder: Path,
    seed: int = 0,
    prediction_type: str = "epsilon",
    linear_projection: bool = False,
    in_channels: int = 4,
    guidance_width: int | None = None,
    taesd: bool = False,
) -> Path:
    """Saves the pipeline, fp16 weights, to `folder` in the diffusers layout and returns it.

    Args:
        folder: where to.
        seed: of the weights.
        prediction_type: `epsilon` or `v_prediction`.
        linear_projection: around the transformers, and heads by level; with `v_prediction` the
            layout of SD 2.1.
        in_channels: of the UNet; nine for inpainting.
        guidance_width: of the embedded guidance scale that an LCM's UNet takes.
        taesd: an AutoencoderTiny instead of an AutoencoderKL.
    """
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(folder / "_tokenizer")
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=2,
            bos_token_id=end - 1,
            eos_token_id=end,
            pad_token_id=end,
        )
    )
    # As trained ones have: then the mean of the states is more than rounding, and weights keep it.
    text_encoder.text_model.final_layer_norm.bias.data += 0.1
    if taesd:
        vae = AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            num_encoder_blocks=(1, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 1),
        )
        vae.decoder.layers[-1].bias.data += 0.5  # or all pictures would be black
    else:
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            norm_num_groups=4,
            sample_size=64,
        )
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        time_cond_proj_dim=guidance_width,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=[2, 4] if linear_projection else 2,
        cross_attention_dim=WIDTH,
        use_linear_projection=linear_projection,
        norm_num_groups=8,
    )
    kind = LCMScheduler if guidance_width else DDIMScheduler
    scheduler = kind(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
    pipeline = StableDiffusionPipeline(
        vae, text_encoder, tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.to(torch.float16).save_pretrained(folder)
    return folder
