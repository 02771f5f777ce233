"""What is right: diffusers, PEFT and PyTorch in fp32 on the fp16-stored weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)

# As a user of diffusers would choose them; written out here, not taken from the exporter.
SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "lcm": (LCMScheduler, {}),
}


class Reference:
    """A diffusers pipeline with the styles in `loras` (name -> file) loaded through PEFT."""

    def __init__(self, base: Path, loras: Mapping[str, Path] | None = None) -> None:
        self.pipeline = StableDiffusionPipeline.from_pretrained(
            base, torch_dtype=torch.float32, safety_checker=None
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.scheduler_config = self.pipeline.scheduler.config
        self.loras = dict(loras or {})
        for name, path in self.loras.items():
            self.pipeline.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=name
            )
        self.style({})

    def style(self, strengths: Mapping[str, float]) -> None:
        """Sets the strengths of the styles; those not named are off."""
        if not self.loras:
            return
        used = [name for name in self.loras if strengths.get(name, 0) != 0]
        if used:
            self.pipeline.enable_lora()
            self.pipeline.set_adapters(used, [strengths[name] for name in used])
        else:
            self.pipeline.disable_lora()

    @torch.no_grad()
    def embeddings(self, prompt: str, negative_prompt: str = "") -> np.ndarray:
        """`[2, T, D]`: negative prompt, prompt."""
        positive, negative = self.pipeline.encode_prompt(
            prompt, torch.device("cpu"), 1, True, negative_prompt
        )
        return torch.cat([negative, positive]).numpy()

    @torch.no_grad()
    def step(
        self,
        sample: np.ndarray,
        timestep: float,
        states: np.ndarray,
        strengths: Mapping[str, float],
    ) -> np.ndarray:
        """One UNet call, `[n, C, h, w]` -> the same shape."""
        self.style(strengths)
        out: np.ndarray = self.unet(
            torch.from_numpy(sample), torch.tensor([timestep]), torch.from_numpy(states)
        ).sample.numpy()
        return out

    @property
    def unet(self) -> UNet2DConditionModel:
        """The denoiser with its adapters."""
        return self.pipeline.unet

    def picture(
        self,
        prompt: str,
        *,
        negative_prompt: str = "",
        seed: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        strengths: Mapping[str, float],
        clip_skip: int | None = None,
        size: tuple[int | None, int | None] = (None, None),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Latents `[1, C, h, w]` and pixels `[H, W, 3]` in 0..1 of a whole run; `size` is W, H."""
        kind, options = SCHEDULERS[sampler]
        self.pipeline.scheduler = kind.from_config(self.scheduler_config, **options)
        self.style(strengths)
        latents = self.pipeline(
            prompt=prompt,
            negative_prompt=negative_prompt,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            clip_skip=clip_skip,
            height=size[1],
            width=size[0],
            generator=torch.Generator().manual_seed(seed),
            output_type="latent",
        ).images
        return latents.numpy(), self.decode(latents)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """`[1, C, h, w]` -> pixels `[H, W, 3]` in 0..1."""
        vae = self.pipeline.vae
        pictures = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        out: np.ndarray = self.pipeline.image_processor.postprocess(pictures, output_type="np")[0]
        return out


@torch.no_grad()
def weighted_states(
    pipeline: StableDiffusionPipeline,
    chunks: Sequence[Sequence[tuple[str, float]]],
    *,
    clip_skip: int = 0,
    restores_mean: bool = True,
) -> np.ndarray:
    """`[1, 77 * chunks, D]`: what A1111 makes of a prompt whose parts and chunks are known.

    Each chunk is read by itself; its states are multiplied by the weights of their tokens and
    scaled so that their mean stays (emphasis "Original").
    """
    tokenizer, model = pipeline.tokenizer, pipeline.text_encoder
    size = tokenizer.model_max_length
    read = []
    for chunk in chunks:
        ids, weights = [tokenizer.bos_token_id], [1.0]
        for text, weight in chunk:
            own = tokenizer(text, add_special_tokens=False).input_ids
            ids += own
            weights += [weight] * len(own)
        assert len(ids) < size
        ids += [tokenizer.eos_token_id] + [tokenizer.pad_token_id] * (size - 1 - len(ids))
        weights += [1.0] * (size - len(weights))
        hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        states = model.text_model.final_layer_norm(hidden[-1 - clip_skip])
        if set(weights) != {1.0}:
            mean = states.mean()
            states = states * torch.tensor(weights)[None, :, None]
            states = states * (mean / states.mean()) if restores_mean else states
        read.append(states)
    return torch.cat(read, dim=1).numpy()


@torch.no_grad()
def merged_unet(base: Path, lora: Path, strength: float) -> UNet2DConditionModel:
    """The UNet with a LoRA fused by PEFT and its weights rounded to fp16, in fp32."""
    return merged(base, lora, strength).unet


@torch.no_grad()
def merged(base: Path, lora: Path, strength: float) -> Reference:
    """UNet and text encoder with a LoRA fused by PEFT, weights rounded to fp16, in fp32."""
    reference = Reference(base)
    pipeline = reference.pipeline
    pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name)
    pipeline.fuse_lora(lora_scale=strength)
    pipeline.unload_lora_weights()
    pipeline.unet.half().float()
    pipeline.text_encoder.half().float()
    return reference


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of pictures in 0..1."""
    return float(-10 * np.log10(np.mean((found - expected) ** 2) + 1e-20))


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """max abs difference over max abs expected."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
