"""Encode the plain pictures once with the frozen encoder: the UNet's training data.

    python -m models.training.latents --count 12000

Writes `models/.work/latents.pt`: unscaled posterior means, bfloat16 [count, 8, 16, 16].
"""

from __future__ import annotations

import argparse

import torch
from diffusers import AutoencoderKL
from rich.progress import track

from models.training.loop import save_whole
from models.training.pictures import load
from models.training.places import WORK
from models.training.vae import to_tensor

PATH = WORK / "latents.pt"
BATCH = 32
FLUSH = BATCH * 125  # the UNet may start on the first 4,000


@torch.no_grad()
def main() -> None:
    """Encode the first `--count` plain pictures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=12000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    vae = AutoencoderKL.from_pretrained(WORK / "vae").eval()
    pictures = load("plain")[: args.count]
    parts: list[torch.Tensor] = []
    for start in track(range(0, len(pictures), BATCH), "encoding"):
        if start and start % FLUSH == 0:
            save_whole(PATH, {"latents": torch.cat(parts)})
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(to_tensor(pictures[start : start + BATCH])).latent_dist
        parts.append(posterior.mean.bfloat16())
    save_whole(PATH, {"latents": torch.cat(parts)})


if __name__ == "__main__":
    main()
