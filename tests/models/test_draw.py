"""The same seed draws the same picture, and every word of a caption shows in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.scenes import STYLES, Scene, draw
from models.scenes.scene import MOUNTAINS, OBJECTS, TIMES

EMPTY = Scene("day", "none", False, "none", "green hills", "none", 5)


def change(scene: Scene, other: Scene, style: str | None = None) -> NDArray[np.float64]:
    """The largest difference of a pixel's channels, [128, 128] in 0..255."""
    before, after = (draw(one, style).astype(float) for one in (scene, other))
    return np.asarray(np.abs(after - before).max(-1))


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


@pytest.mark.parametrize("name", [name for name in OBJECTS if name != "none"])
def test_an_object_is_large_and_changes_nothing_far_from_it(name: str) -> None:
    for time in TIMES[::3]:
        ground = "sea" if name == "sailboat" else "green hills"
        bare = replace(EMPTY, time=time, ground=ground)
        changed = change(bare, replace(bare, object=name))
        assert (changed > 25).mean() > 0.05  # 0.07 for the slim lighthouse
        assert changed[:, [*range(4), *range(-4, 0)]].max() <= 1  # the lighthouse's glow at night


@pytest.mark.parametrize(
    "words",
    [{"light": "sun"}, {"clouds": True}, *({"mountains": name} for name in MOUNTAINS[1:])],
    ids=str,
)
@pytest.mark.parametrize("style", [None, *STYLES])
def test_a_word_of_the_sky_shows_above_the_ground(
    words: dict[str, object], style: str | None
) -> None:
    changed = change(EMPTY, replace(EMPTY, **words), style)  # type: ignore[arg-type]
    assert (changed[:64] > 25).mean() > 0.02


@pytest.mark.parametrize("style", [None, *STYLES])
def test_night_is_the_darkest_time(style: str | None) -> None:
    brightness = {time: draw(replace(EMPTY, time=time), style).mean() for time in TIMES}
    assert min(brightness, key=brightness.__getitem__) == "night"
