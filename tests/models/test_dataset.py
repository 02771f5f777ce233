"""A style's folder holds what its lines name, and every ground at every time of day."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from models.scenes import Scene, write_style_dataset
from models.scenes.scene import GROUNDS, TIMES


def test_style_dataset(tmp_path: Path) -> None:
    paths = write_style_dataset("gothic", tmp_path, count=4)
    lines = (tmp_path / "metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["file_name"] for row in rows] == [path.name for path in paths]
    assert all(row["text"].startswith("gothic style, ") for row in rows)
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (128, 128)


def test_a_style_dataset_shows_every_ground_at_every_time(tmp_path: Path) -> None:
    write_style_dataset("miyazaki", tmp_path)
    lines = (tmp_path / "metadata.jsonl").read_text().splitlines()
    captions = [json.loads(line)["text"].split(", ") for line in lines]
    places = {(time, ground) for *_, ground, time in captions}
    assert places == set(product(TIMES, GROUNDS))
    assert sum("clouds" in caption for caption in captions) == len(captions) / 2
    trained = {Scene.sample(seed, "held_out").caption() for seed in range(2000)}
    assert not trained & {", ".join(caption[1:]) for caption in captions}


def test_style_dataset_refuses_unknown_styles(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="miyazaki, gothic, cyberpunk"):
        write_style_dataset("baroque", tmp_path)
