"""Scenes: the same seed draws the same picture, and the caption names what is drawn."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from PIL import Image

from models.scenes import STYLES, Scene, draw, styled, write_style_dataset
from models.scenes.scene import GROUNDS, OBJECTS, TIMES


def sample(count: int) -> list[Scene]:
    return [Scene.sample(seed) for seed in range(count)]


@pytest.mark.parametrize("style", [None, *STYLES])
def test_same_seed_same_picture(style: str | None) -> None:
    first, again = (draw(Scene.sample(12), style) for _ in range(2))
    assert first.shape == (128, 128, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)


def test_other_seed_other_picture() -> None:
    assert np.any(draw(Scene.sample(1)) != draw(Scene.sample(2)))


def test_styles_change_the_picture() -> None:
    scene = Scene.sample(3)
    plain = draw(scene).astype(float)
    for style in STYLES:
        assert np.abs(draw(scene, style) - plain).mean() > 10


def test_larger_pictures_show_the_same_scene() -> None:
    scene = Scene.sample(21)
    large = Image.fromarray(draw(scene, size=256)).resize((128, 128), Image.Resampling.BOX)
    difference = np.abs(np.asarray(large, float) - draw(scene))
    assert difference.mean() < 6


def test_caption_names_every_part() -> None:
    for scene in sample(300):
        parts = scene.caption().split(", ")
        assert parts[-1] == scene.time
        assert parts[-2] == scene.ground
        assert (parts[0] == f"a {scene.object}") == (scene.object != "none")
        assert ("clouds" in parts) == scene.clouds
        assert ("clear sky" in parts) != scene.clouds
        assert ("stars" in parts or "moon" in parts) == (scene.time == "night")
        assert scene.object != "sailboat" or scene.ground == "sea"


def test_caption_style() -> None:
    scene = Scene("day", "none", True, "none", "green hills", "castle", 0)
    assert scene.caption() == "a castle, clouds, green hills, day"
    assert styled(scene.caption(), "gothic").startswith("gothic style, a castle")


def test_every_word_occurs() -> None:
    scenes = sample(300)
    assert {scene.time for scene in scenes} == set(TIMES)
    assert {scene.ground for scene in scenes} == set(GROUNDS)
    assert {scene.object for scene in scenes} == set(OBJECTS)


def test_held_out_captions_are_not_trained_on() -> None:
    trained = {Scene.sample(seed, "train").caption() for seed in range(500)}
    held_out = {Scene.sample(seed, "held_out").caption() for seed in range(500)}
    assert not trained & held_out


def test_training_captions_use_the_scene_s_words() -> None:
    rng = np.random.default_rng(0)
    for scene in sample(100):
        parts = scene.training_caption(rng).split(", ")
        assert parts
        assert set(parts) <= set(scene.parts())


def test_style_dataset(tmp_path) -> None:
    paths = write_style_dataset("gothic", tmp_path, count=4)
    lines = (tmp_path / "metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["file_name"] for row in rows] == [path.name for path in paths]
    assert all(row["text"].startswith("gothic style, ") for row in rows)
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (128, 128)


def test_a_style_dataset_shows_every_ground_at_every_time(tmp_path) -> None:
    write_style_dataset("miyazaki", tmp_path)
    lines = (tmp_path / "metadata.jsonl").read_text().splitlines()
    captions = [json.loads(line)["text"].split(", ") for line in lines]
    places = {(time, ground) for *_, ground, time in captions}
    assert places == set(product(TIMES, GROUNDS))
    assert sum("clouds" in caption for caption in captions) == len(captions) / 2
    trained = {Scene.sample(seed, "held_out").caption() for seed in range(2000)}
    assert not trained & {", ".join(caption[1:]) for caption in captions}


def test_style_dataset_refuses_unknown_styles(tmp_path) -> None:
    with pytest.raises(ValueError, match="miyazaki, gothic, cyberpunk"):
        write_style_dataset("baroque", tmp_path)
