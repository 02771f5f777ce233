"""Draw the training pictures once, as one memory-mapped array per style.

    python -m models.training.pictures --style plain --count 16000
    python -m models.training.pictures --style miyazaki --count 2000

Picture i of a style shows `Scene.sample(first_seed(style) + i, "train")`.
"""

from __future__ import annotations

import argparse
from multiprocessing import Pool

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from models.scenes import STYLES, Scene, draw
from models.training.places import WORK

# Far apart, so that the styles do not share scenes; held-out seeds start at 900 million.
FIRST_SEEDS = {"plain": 0, "miyazaki": 1_000_000, "gothic": 2_000_000, "cyberpunk": 3_000_000}
HELD_OUT_SEED = 900_000_000


def scene_of(style: str, index: int) -> Scene:
    """The scene of training picture `index` of a style ("plain" or one of STYLES)."""
    return Scene.sample(FIRST_SEEDS[style] + index, "train")


def _draw(job: tuple[str, int]) -> NDArray[np.uint8]:
    style, index = job
    return draw(scene_of(style, index), None if style == "plain" else style)


def load(style: str) -> NDArray[np.uint8]:
    """The drawn pictures of a style, memory-mapped uint8 [count, 128, 128, 3]."""
    pictures: NDArray[np.uint8] = np.load(WORK / f"pictures-{style}.npy", mmap_mode="r")
    return pictures


def main() -> None:
    """Draw `--count` pictures of `--style` into the work folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--style", choices=["plain", *STYLES], required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"pictures-{args.style}.npy"
    unfinished = path.with_suffix(".part")
    shape = (args.count, 128, 128, 3)
    pictures = np.lib.format.open_memmap(unfinished, "w+", dtype=np.uint8, shape=shape)
    jobs = ((args.style, index) for index in range(args.count))
    with Pool(args.processes) as pool:
        drawn = pool.imap(_draw, jobs, chunksize=32)
        for index, picture in enumerate(track(drawn, args.style, total=args.count)):
            pictures[index] = picture
    pictures.flush()
    unfinished.rename(path)


if __name__ == "__main__":
    main()
