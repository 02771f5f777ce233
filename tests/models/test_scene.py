"""The caption names what the scene contains, and training keeps off what is held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.scenes import Scene, styled
from models.scenes.scene import GROUNDS, HELD_OUT_SHARE, OBJECTS, TIMES


def sample(count: int) -> list[Scene]:
    return [Scene.sample(seed) for seed in range(count)]


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
    assert styled(scene.caption(), None) == scene.caption()


def test_every_word_occurs() -> None:
    scenes = sample(300)
    assert {scene.time for scene in scenes} == set(TIMES)
    assert {scene.ground for scene in scenes} == set(GROUNDS)
    assert {scene.object for scene in scenes} == set(OBJECTS)


def test_held_out_captions_are_not_trained_on() -> None:
    trained = {Scene.sample(seed, "train").caption() for seed in range(500)}
    held_out = {Scene.sample(seed, "held_out").caption() for seed in range(500)}
    assert not trained & held_out


def test_words_are_held_out_whatever_the_seed() -> None:
    scenes = sample(2000)
    for scene in scenes[:100]:
        assert replace(scene, seed=scene.seed + 1).held_out == scene.held_out
    captions = {scene.caption(): scene.held_out for scene in scenes}
    assert abs(np.mean(list(captions.values())) - HELD_OUT_SHARE) < 0.03  # +- 0.01 by chance


def test_training_captions_use_the_scene_s_words() -> None:
    rng = np.random.default_rng(0)
    for scene in sample(100):
        parts = scene.training_caption(rng).split(", ")
        assert parts
        assert set(parts) <= set(scene.parts())


def test_half_of_the_training_captions_are_whole_and_most_keep_the_object() -> None:
    rng = np.random.default_rng(0)
    scene = Scene("night", "moon, stars", True, "mountains", "sea", "castle", 0)
    captions = [scene.training_caption(rng) for _ in range(1000)]
    assert 450 < captions.count(scene.caption()) < 570
    assert sum("a castle" in caption for caption in captions) > 900
    assert sum("mountains" in caption for caption in captions) < 850
