"""Train the judge on drawn scenes, as drawn, blurred, noisy, or sent through the VAE.

    python -m models.training.classifier --minutes 3

Writes `models/classifiers/judge.safetensors` (fp16) and `judge.json`: its accuracy on 800 drawn
scenes (200 of each style) whose combinations of words it never saw.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch.nn import functional
from torch.nn.functional import interpolate as resized

from models.classifiers.judge import HEADS, WEIGHTS, Judge, load_judge
from models.scenes import STYLES, Scene, draw
from models.training.loop import Run
from models.training.pictures import HELD_OUT_SEED, load, scene_of
from models.training.places import WORK
from models.training.vae import to_tensor

BATCH = 64
RATE = 2e-3
ROUND_TRIPS = 320  # pictures of each style that also exist as the VAE gives them back
console = Console()
Labels = dict[str, torch.Tensor]


def labels_of(scenes: list[Scene], styles: list[str]) -> Labels:
    """Class indices [batch] by head."""
    words = {
        "time": [scene.time for scene in scenes],
        "ground": [scene.ground for scene in scenes],
        "object": [scene.object for scene in scenes],
        "style": styles,
    }
    return {head: torch.tensor([HEADS[head].index(word) for word in words[head]]) for head in HEADS}


@torch.no_grad()
def round_trips(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The first ROUND_TRIPS pictures as the VAE gives them back."""
    vae = AutoencoderKL.from_pretrained(WORK / "vae").eval()
    parts = []
    for start in track(range(0, ROUND_TRIPS, 16), "VAE round trips"):
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode(to_tensor(pictures[start : start + 16])).latent_dist.mode()
            drawn = vae.decode(latents).sample.float().clamp(-1, 1)
        parts.append(((drawn + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


def roughen(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Blur, noise, contrast and small shifts, so that drawn pictures resemble generated ones."""
    if rng.random() < 0.5:
        small = resized(pictures, scale_factor=float(rng.uniform(0.4, 0.9)), mode="bilinear")
        pictures = resized(small, size=pictures.shape[-2:], mode="bilinear")
    if rng.random() < 0.5:
        cells = resized(torch.randn(len(pictures), 3, 32, 32), size=128, mode="bilinear")
        pictures = pictures + cells * float(rng.uniform(0, 0.12))
    contrast = 1 + 0.12 * torch.randn(len(pictures), 1, 1, 1)
    shift = 0.06 * torch.randn(len(pictures), 3, 1, 1)
    pictures = pictures * contrast + shift
    if rng.random() < 0.5:
        pictures = pictures.flip(-1)
    rows, columns = (int(value) for value in rng.integers(-6, 7, 2))
    padded = functional.pad(pictures, (6, 6, 6, 6), mode="replicate")
    moved = padded[..., 6 + rows : 134 + rows, 6 + columns : 134 + columns]
    return moved + 0.02 * torch.randn_like(moved)


def accuracy(judge: Judge) -> dict[str, float]:
    """Share of right answers by head on 200 held-out drawn scenes of each style."""
    right: dict[str, list[bool]] = {head: [] for head in HEADS}
    for style in (None, *STYLES):
        scenes = [Scene.sample(HELD_OUT_SEED + 50_000 + i, "held_out") for i in range(200)]
        said = judge.judge([draw(scene, style) for scene in scenes])
        truth = labels_of(scenes, [style or "plain"] * len(scenes))
        for head, classes in HEADS.items():
            wanted = [classes[index] for index in truth[head].tolist()]
            right[head] += [a == b for a, b in zip(said[head], wanted, strict=True)]
    return {head: float(np.mean(values)) for head, values in right.items()}


def main() -> None:
    """Train for `--minutes`, or go on from the checkpoint; store and measure the EMA weights."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    names = ("plain", *STYLES)
    sets = {name: load(name) for name in names}
    through_vae = {name: round_trips(sets[name]) for name in names}
    judge = Judge()
    run = Run(
        "judge",
        judge,
        WORK / "judge.pt",
        minutes=args.minutes,
        rate=RATE,
        seed=args.seed,
        weight_decay=0.02,
    )
    rng = run.rng
    for step in run.steps():
        # Plain pictures are half of a batch: they differ least from what the base generates.
        styles = [
            "plain" if i % 2 == 0 else STYLES[rng.integers(len(STYLES))] for i in range(BATCH)
        ]
        rows, scenes = [], []
        for style in styles:
            source = through_vae[style] if rng.random() < 0.35 else sets[style]
            index = int(rng.integers(len(source)))
            rows.append(source[index])
            scenes.append(scene_of(style, index))
        pictures = roughen(to_tensor(np.stack(rows)), rng)
        logits = judge(pictures)
        truth = labels_of(scenes, styles)
        losses = [
            functional.cross_entropy(logits[head], truth[head], label_smoothing=0.02)
            for head in HEADS
        ]
        run.learn(torch.stack(losses).sum())
        if step % 100 == 99:
            console.print(str(run))
            run.save()
    run.ema.copy_to(judge)
    save_file({n: v.half().contiguous() for n, v in judge.state_dict().items()}, WEIGHTS)
    measured = accuracy(load_judge())
    summary = {"drawn_scenes": 800, "accuracy": measured}
    WEIGHTS.with_suffix(".json").write_text(json.dumps(summary, indent=2) + "\n")
    console.print(measured)


if __name__ == "__main__":
    main()
