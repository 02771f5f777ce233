"""Each effect stays where it belongs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.scenes import effects
from models.scenes.canvas import Array, Canvas, rgb
from models.scenes.palette import PLAIN

HORIZON = 70.0
DAY = PLAIN["day"]
GREY = 0.5
Effect = Callable[[Canvas, np.random.Generator], None]


def grey(size: int = 128) -> Canvas:
    canvas = Canvas(size)
    canvas.pixels[:] = GREY
    return canvas


def after(effect: Effect) -> Array:
    canvas = grey()
    effect(canvas, np.random.default_rng(0))
    assert canvas.pixels.shape == (128, 128, 3)
    assert np.isfinite(canvas.pixels).all()
    return canvas.pixels


@pytest.mark.parametrize(
    ("effect", "top", "bottom"),
    [
        (lambda c, rng: effects.puff_cloud(c, rng, DAY, 64, 40, 12, True), 12, 43),
        (lambda c, rng: effects.cumulus(c, rng, DAY, HORIZON, True), 10, 86),
        (lambda c, rng: effects.skyline(c, rng, HORIZON, DAY.shade), 25, 93),
        (lambda c, rng: effects.neon_grid(c, HORIZON), 70, 128),
    ],
    ids=["puff_cloud", "cumulus", "skyline", "neon_grid"],
)
def test_nothing_is_painted_above_or_below(effect: Effect, top: int, bottom: int) -> None:
    rows = np.flatnonzero((np.abs(after(effect) - GREY) > 1e-3).any((1, 2)))
    assert len(rows) > 10
    assert top <= rows[0]
    assert rows[-1] < bottom


def test_a_cloud_s_outer_side_is_brighter_where_the_sun_stands() -> None:
    from_left = after(lambda c, rng: effects.puff_cloud(c, rng, DAY, 64, 40, 14, True))
    from_right = after(lambda c, rng: effects.puff_cloud(c, rng, DAY, 64, 40, 14, False))
    brighter = (from_left - from_right).mean((0, 2))
    assert brighter[:40].sum() > 0 > brighter[88:].sum()


def test_fog_is_thickest_at_the_horizon_and_gloom_darkest_at_the_sides() -> None:
    fog = np.abs(after(lambda c, rng: effects.fog(c, rng, rgb((255, 255, 255)), HORIZON)) - GREY)
    rows = fog.mean((1, 2))
    assert abs(int(rows.argmax()) - HORIZON) < 15
    assert rows[:20].max() < 0.01
    gloom = after(lambda c, rng: effects.gloom(c, rng, rgb(DAY.horizon))).mean((0, 2))
    assert gloom[:10].mean() < gloom[60:68].mean() > gloom[-10:].mean()


def test_strokes_and_wet_air_keep_a_plain_surface_s_colour() -> None:
    brushed = after(effects.brush)
    assert np.ptp(brushed, axis=-1).max() < 1e-6
    assert 0.01 < np.abs(brushed - GREY).max() < 0.1
    assert np.abs(after(lambda c, _: effects.wet_air(c)) - GREY).max() < 1 / 255


@pytest.mark.parametrize("size", [128, 256])
def test_neon_lights_the_outline_of_an_object_and_the_air_around_it(size: int) -> None:
    edged, haloed = grey(size), grey(size)
    shape = edged.disc(64, 64, 30)
    effects.neon_edge(edged, shape, rgb((255, 255, 255)))
    effects.neon_halo(haloed, shape, rgb((255, 255, 255)))
    distance = edged.distance(64, 64)
    edge, halo = edged.pixels[..., 0] - GREY, haloed.pixels[..., 0] - GREY
    assert edge[distance < 26].max() < 0.01 < 0.1 < edge[np.abs(distance - 29.5) < 0.5].mean()
    assert edge[distance > 31].max() == 0
    assert halo[np.abs(distance - 33) < 1].min() > 0.03
    assert halo[distance > 42].max() == 0


def test_rain_adds_light_and_takes_none() -> None:
    rain = after(effects.rain)
    assert rain.min() >= GREY
    assert 0.02 < (rain[..., 2] > GREY + 0.01).mean() < 0.5
