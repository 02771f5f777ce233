"""Every object stands on its foot, fits in the picture, and is lit from the sun's side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.scenes.canvas import Canvas
from models.scenes.objects import DRAWERS, Pen
from models.scenes.scene import OBJECTS

Picture = NDArray[np.float32]


def drawn(name: str, seed: int = 0, **changes: object) -> tuple[Picture, Picture]:
    """Brightness and coverage, [128, 128] both."""
    canvas = Canvas(128)
    sprite = canvas.sprite()
    pen = Pen(sprite, 64, 100, 1, (255, 255, 255), (90, 90, 90), True, (255, 214, 110), 1)
    DRAWERS[name](replace(pen, **changes), np.random.default_rng(seed))  # type: ignore[arg-type]
    colors, alpha = canvas.lay(sprite)
    return colors.mean(-1), alpha


def edges(alpha: Picture) -> tuple[int, int, int, int]:
    """The first and last column and row that are more than half covered."""
    columns, rows = (np.flatnonzero((alpha > 0.5).any(axis)) for axis in (0, 1))
    return columns[0], columns[-1], rows[0], rows[-1]


def test_every_object_of_a_caption_can_be_drawn() -> None:
    assert set(DRAWERS) == set(OBJECTS) - {"none"}


@pytest.mark.parametrize("name", DRAWERS)
def test_it_stands_on_its_foot_and_grows_with_the_scale(name: str) -> None:
    left, right, top, bottom = edges(drawn(name)[1])
    assert bottom in (99, 100)
    assert 40 <= bottom - top <= 68
    assert abs(left + right - 127) <= 4  # in the middle
    small = edges(drawn(name, scale=0.5)[1])
    assert small[3] in (99, 100)
    assert small[1] - small[0] == pytest.approx((right - left) / 2, abs=1.5)
    assert small[3] - small[2] == pytest.approx((bottom - top) / 2, abs=1.5)


@pytest.mark.parametrize("name", DRAWERS)
@pytest.mark.parametrize("cx", [52.0, 76.0])
def test_it_fits_in_the_picture_where_scenes_put_it(name: str, cx: float) -> None:
    foot = 66.0 if name == "hot air balloon" else 100.0
    for seed in range(3):
        alpha = drawn(name, seed, cx=cx, foot=foot, scale=1.08, spire=1.7)[1]
        assert not alpha[0].any()
        assert not alpha[:, [0, -1]].any()


@pytest.mark.parametrize("name", ["castle", "house", "windmill", "lighthouse"])
def test_its_sunny_side_is_the_brighter(name: str) -> None:
    brighter = drawn(name, sun_left=True)[0] - drawn(name, sun_left=False)[0]
    assert brighter[:, :64].sum() > 0 > brighter[:, 64:].sum()


@pytest.mark.parametrize("name", ["castle", "house", "lighthouse"])
def test_a_spire_raises_its_top_alone(name: str) -> None:
    left, right, top, bottom = edges(drawn(name)[1])
    pointed = edges(drawn(name, spire=1.7)[1])
    assert (pointed[0], pointed[1], pointed[3]) == pytest.approx((left, right, bottom), abs=1)
    assert 4 <= top - pointed[2] <= 15
