"""Train the AutoencoderKL on plain and styled scenes, half and half.

    torchrun --nproc-per-node 2 -m models.training.vae --minutes 21
    python -m models.training.vae --minutes 21 --decoder-only --rate 5e-4

The second line may come later: the encoder, and so the UNet's training data, stays as it is.
Both leave the EMA weights, and the scaling factor measured on the scenes, in `models/.work/vae/`.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from rich.console import Console

from models.scenes import STYLES, Scene, draw
from models.training.initial import start_near_linear
from models.training.loop import Run
from models.training.pictures import HELD_OUT_SEED, load
from models.training.places import WORK
from models.training.workers import start

BATCH = 2  # a worker
RATE = 1e-3
LATENT_CHANNELS = 8
SMALL_SHARE = 0.55  # of the time on cut-outs of 64 pixels: four times as many steps
# KL per latent element, against an error per pixel of about 0.02: keeps latents smooth, no more.
KL_WEIGHT = 1e-5
EDGE_WEIGHT = 0.5
SQUARE_WEIGHT = 4.0
console = Console()


def build() -> AutoencoderKL:
    """The SD 1.x autoencoder, f = 8, 8 latent channels, narrow where the picture is large.

    It stays in NCHW: on CPUs channels_last makes GroupNorm's backward pass 25 % of a step slower.
    """
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 128),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=128,
    )
    start_near_linear(vae)
    with torch.no_grad():  # the posterior's log variance: nearly a plain autoencoder at first
        vae.quant_conv.weight[LATENT_CHANNELS:] *= 0.1
        vae.quant_conv.bias[LATENT_CHANNELS:] = -6
    return vae


def to_tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [batch, height, width, 3] to float [batch, 3, height, width] in -1..1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2) / 127.5 - 1


def sample_batch(
    sets: dict[str, NDArray[np.uint8]], rng: np.random.Generator, side: int, more_plain: float
) -> torch.Tensor:
    """Cut-outs, float [BATCH, 3, side, side] in -1..1, mirrored by chance.

    Every second one is plain; of the others the share `more_plain`, and the rest is styled.
    """
    rows = []
    for index in range(BATCH):
        plain = index % 2 == 0 or rng.random() < more_plain
        name = "plain" if plain else STYLES[rng.integers(len(STYLES))]
        top, left = rng.integers(0, 129 - side, 2)
        picture = sets[name][rng.integers(len(sets[name])), top : top + side, left : left + side]
        rows.append(picture[:, ::-1] if rng.random() < 0.5 else picture)
    return to_tensor(np.stack(rows))


def picture_loss(
    drawn: torch.Tensor, wanted: torch.Tensor, square_weight: float = SQUARE_WEIGHT
) -> torch.Tensor:
    """Absolute and squared error of pixels, and absolute error of their differences (edges)."""
    error = drawn - wanted
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + square_weight * error.square().mean() + EDGE_WEIGHT * edges


@torch.no_grad()
def psnr(vae: AutoencoderKL, style: str | None, count: int = 32) -> float:
    """Mean PSNR in dB of the reconstruction of `count` held-out scenes."""
    values = []
    for first in range(0, count, 8):
        scenes = [Scene.sample(HELD_OUT_SEED + first + i, "held_out") for i in range(8)]
        wanted = to_tensor(np.stack([draw(scene, style) for scene in scenes]))
        drawn = vae.decode(vae.encode(wanted).latent_dist.mode()).sample.clamp(-1, 1)
        errors = ((drawn - wanted) / 2).square().mean(dim=(1, 2, 3))
        values += (-10 * errors.log10()).tolist()
    return float(np.mean(values))


@torch.no_grad()
def latent_std(vae: AutoencoderKL, pictures: NDArray[np.uint8]) -> float:
    """Standard deviation of the latents of 256 pictures."""
    parts = [
        vae.encode(to_tensor(pictures[first : first + 16])).latent_dist.mode()
        for first in range(0, 256, 16)
    ]
    return float(torch.cat(parts).std())


def main() -> None:
    """Train for `--minutes`; start again from the checkpoint when there is one."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=28)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--decoder-only", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rank = start()
    torch.manual_seed(args.seed)
    vae = build()
    sets = {name: load(name) for name in ("plain", *STYLES)}
    if args.decoder_only:
        vae.load_state_dict(AutoencoderKL.from_pretrained(WORK / "vae").state_dict())
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    run = Run(
        "VAE",
        vae,
        WORK / ("vae-decoder.pt" if args.decoder_only else "vae.pt"),
        minutes=args.minutes,
        rate=args.rate,
        seed=args.seed,
        rank=rank,
        weight_decay=1e-4,
    )
    # The last stretch is for the promised PSNR, where plain scenes are the further from theirs.
    square_weight, more_plain = (20.0, 0.5) if args.decoder_only else (SQUARE_WEIGHT, 0.0)
    for step in run.steps():
        small = run.budget.share < SMALL_SHARE and not args.decoder_only
        pictures = sample_batch(sets, run.rng, 64 if small else 128, more_plain)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(pictures).latent_dist
            latents = posterior.mode() if args.decoder_only else posterior.sample()
            drawn = vae.decode(latents).sample
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        run.learn(picture_loss(drawn.float(), pictures, square_weight) + KL_WEIGHT * kl)
        if rank == 0 and step % 200 == 199:
            squared = (drawn.detach().float() - pictures).square().mean(dim=(1, 2, 3)) / 4
            plain, styled = (-10 * squared.log10()).view(-1, 2).mean(dim=0).tolist()
            console.print(f"{run} kl {kl:.2f} batch PSNR plain {plain:.1f} styled {styled:.1f}")
        if rank == 0 and step % 400 == 399:
            run.save()
    if rank == 0:
        run.save()
        run.ema.copy_to(vae)
        finish(vae, None if args.decoder_only else latent_std(vae, sets["plain"]))


def finish(vae: AutoencoderKL, std: float | None) -> None:
    """Store the autoencoder, scaled by `std` or as before, and say how well it works."""
    before = None if std else AutoencoderKL.load_config(WORK / "vae")["scaling_factor"]
    vae.register_to_config(scaling_factor=before or 1 / (std or 1))
    vae.save_pretrained(WORK / "vae")
    for name in (None, *STYLES):
        console.print(f"{name or 'plain'}: {psnr(vae, name):.2f} dB")


if __name__ == "__main__":
    main()
