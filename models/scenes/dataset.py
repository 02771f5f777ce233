"""A style's training folder: pictures and `metadata.jsonl`, as kohya and diffusers read it."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from models.scenes.draw import draw
from models.scenes.scene import STYLES, Scene, styled


def write_style_dataset(
    style: str, folder: str | Path, count: int = 20, seed: int = 20_000_000
) -> list[Path]:
    """Write `count` pictures of `style` as PNG with `metadata.jsonl` (`file_name`, `text`).

    The scenes are sampled from `seed`, `seed + 1`, ... and none of their combinations is held out.
    Returns the pictures' paths. Raises ValueError for an unknown style.
    """
    if style not in STYLES:
        raise ValueError(f"unknown style {style!r}: choose one of {', '.join(STYLES)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines, paths = [], []
    for index in range(count):
        scene = Scene.sample(seed + index, "train")
        path = folder / f"{index:03d}.png"
        Image.fromarray(draw(scene, style)).save(path)
        paths.append(path)
        lines.append(json.dumps({"file_name": path.name, "text": styled(scene.caption(), style)}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths
