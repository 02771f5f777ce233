import io
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console

from trainer.base import load_base
from trainer.thumbnail import SIDE, draw_thumbnail


def test_it_is_a_square_png_of_its_seed_and_leaves_the_sampler(tiny_base: Path) -> None:
    base = load_base(str(tiny_base), torch.device("cpu"), Console(quiet=True), None)
    sampler = base.pipeline.scheduler
    first, same, other = (draw_thumbnail(base, "a castle, day", seed) for seed in (1, 1, 2))
    with Image.open(io.BytesIO(first)) as picture:
        assert (picture.format, picture.size) == ("PNG", (SIDE, SIDE))
    assert first == same != other
    assert base.pipeline.scheduler is sampler
