"""Train the UNet and, along with it, the CLIP text encoder on cached latents of plain scenes.

    torchrun --nproc-per-node 2 -m models.training.unet --minutes 55

Every 250 steps the checkpoint, and the EMA weights as `models/.work/{unet,text_encoder}`, are
written; a second start goes on from there.
"""

from __future__ import annotations

import argparse

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from rich.console import Console
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

from models.training.initial import start_near_linear
from models.training.latents import PATH as LATENTS
from models.training.loop import Run
from models.training.pictures import scene_of
from models.training.places import BASE, WORK
from models.training.vae import LATENT_CHANNELS
from models.training.workers import start

BATCH = 16  # a worker
RATE = 7e-4
EMPTY_PROMPTS = 0.1  # the share without a caption, for classifier-free guidance
# The error is weighed as that of v (Salimans & Ho 2022, arXiv:2202.00512), which is 1/alpha of that
# of the noise. Weighed as noise (or min-SNR), after 750 steps the clean picture was guessed worse
# than by its mean at t = 980, and the caption's time of day, decided there, was ignored.
WEIGHT_CAP = 100.0
console = Console()


class Painter(torch.nn.Module):
    """Text encoder and UNet as one module, so that one optimizer and one EMA serve both."""

    def __init__(self, tokenizer: CLIPTokenizerFast) -> None:
        super().__init__()
        text = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=192,
            intermediate_size=768,
            num_hidden_layers=2,
            num_attention_heads=6,
            projection_dim=192,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        self.text_encoder = CLIPTextModel(text)
        channels = (64, 128, 160)
        self.unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            block_out_channels=channels,
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=192,
            # In UNet2DConditionModel this is the number of heads; 32 channels each.
            attention_head_dim=tuple(width // 32 for width in channels),
            norm_num_groups=8,  # wider groups than SD, or brightness is lost in them
        )
        start_near_linear(self.unet)
        torch.nn.init.zeros_(self.unet.conv_out.weight)
        # On CPUs the backward pass of the fused attention costs more than all convolutions.
        self.unet.set_attn_processor(AttnProcessor())

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Noise [batch, 8, 16, 16] in noisy latents at `timesteps`, for tokens [batch, 77]."""
        states = self.text_encoder(tokens).last_hidden_state
        noise: torch.Tensor = self.unet(noisy, timesteps, states).sample
        return noise


def scheduler() -> DDIMScheduler:
    """SD 1.x's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def load_latents() -> torch.Tensor:
    """The cached latents, scaled to unit variance, float32 [count, 8, 16, 16]."""
    scale = AutoencoderKL.load_config(WORK / "vae")["scaling_factor"]
    latents: torch.Tensor = torch.load(LATENTS, weights_only=True)["latents"]
    return latents.float() * float(scale)


def main() -> None:
    """Train for `--minutes`; start again from the checkpoint when there is one."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=55)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rank = start()
    torch.manual_seed(args.seed)
    tokenizer = CLIPTokenizerFast.from_pretrained(BASE / "tokenizer")
    painter = Painter(tokenizer)
    latents = load_latents()
    scenes = [scene_of("plain", index) for index in range(len(latents))]
    alphas = scheduler().alphas_cumprod
    run = Run(
        "UNet",
        painter,
        WORK / "unet.pt",
        minutes=args.minutes,
        rate=RATE,
        warmup=200,
        seed=args.seed,
        rank=rank,
        betas=(0.9, 0.99),
        weight_decay=0.01,
    )
    rng = run.rng
    mean = Painter(tokenizer)

    def save() -> None:
        run.save()
        run.ema.copy_to(mean)
        mean.unet.save_pretrained(WORK / "unet")
        mean.text_encoder.save_pretrained(WORK / "text_encoder")

    for step in run.steps():
        chosen = rng.integers(len(latents), size=BATCH)
        captions = [
            "" if rng.random() < EMPTY_PROMPTS else scenes[index].training_caption(rng)
            for index in chosen
        ]
        tokens = tokenizer(captions, padding="max_length", max_length=77, return_tensors="pt")
        clean = latents[torch.from_numpy(chosen)]
        noise = torch.randn_like(clean)
        timesteps = torch.randint(0, 1000, (BATCH,))
        alpha = alphas[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        with torch.autocast("cpu", torch.bfloat16):
            predicted = painter(noisy, timesteps, tokens.input_ids)
        weight = (1 / alpha).clamp(max=WEIGHT_CAP)
        run.learn((weight * (predicted.float() - noise).square()).mean())
        if rank == 0 and step % 50 == 49:
            console.print(str(run))
        if step % 250 == 249:
            latents = load_latents()  # the encoding may still go on beside this training
            scenes += [scene_of("plain", index) for index in range(len(scenes), len(latents))]
            if rank == 0:
                save()
    if rank == 0:
        save()


if __name__ == "__main__":
    main()
