"""A style's training folder: pictures and `metadata.jsonl`, as kohya and diffusers read it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import count as counting
from itertools import islice
from pathlib import Path

from PIL import Image

from models.scenes.draw import draw
from models.scenes.scene import GROUNDS, STYLES, TIMES, Scene, styled


def write_style_dataset(
    style: str, folder: str | Path, count: int = 20, seed: int = 20_000_000
) -> list[Path]:
    """Write `count` pictures of `style` as PNG with `metadata.jsonl` (`file_name`, `text`).

    None of the scenes' combinations of words is held out. Returns the pictures' paths. Raises
    ValueError for an unknown style.
    """
    if style not in STYLES:
        raise ValueError(f"unknown style {style!r}: choose one of {', '.join(STYLES)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines, paths = [], []
    for index, scene in enumerate(islice(_varied_scenes(seed), count)):
        path = folder / f"{index:03d}.png"
        Image.fromarray(draw(scene, style)).save(path)
        paths.append(path)
        lines.append(json.dumps({"file_name": path.name, "text": styled(scene.caption(), style)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def _varied_scenes(seed: int) -> Iterator[Scene]:
    """Scenes as somebody would choose them to show a style: every ground at every time of day
    before any comes again, with clouds by day and at sunset, when most is seen of them. Of those
    sampled from `seed`, `seed + 1`, ... the first that fit."""
    seen: Counter[tuple[str, str]] = Counter()
    for number in counting(seed):
        scene = Scene.sample(number, "train")
        rounds = seen.total() // (len(TIMES) * len(GROUNDS))
        cloudy = scene.time in ("day", "sunset")
        if seen[scene.time, scene.ground] == rounds and scene.clouds == cloudy:
            seen[scene.time, scene.ground] += 1
            yield scene
