"""Colours for every style at every time, with light brighter than shade."""

from __future__ import annotations

import pytest

from models.scenes.palette import FLOWERS, GROUND_COLORS, NEON, PALETTES, ROCK, SNOWCAP, Palette
from models.scenes.scene import GROUNDS, STYLES, TIMES

ALL = [(style, time, colors) for style, times in PALETTES.items() for time, colors in times.items()]


def test_every_style_time_and_ground_has_colours() -> None:
    assert set(PALETTES) == {None, *STYLES}
    assert all(set(times) == set(TIMES) for times in PALETTES.values())
    assert set(GROUND_COLORS) == set(GROUNDS)


def test_colours_are_within_0_to_255() -> None:
    colors = [*GROUND_COLORS.values(), *FLOWERS, *NEON, ROCK, SNOWCAP]
    colors += [color for *_, palette in ALL for color in vars(palette).values()]
    for color in colors:
        assert len(color) == 3
        assert all(0 <= value <= 255 for value in color), color


@pytest.mark.parametrize(("style", "time", "palette"), ALL, ids=[f"{s}-{t}" for s, t, _ in ALL])
def test_light_is_brighter_than_shade(style: str | None, time: str, palette: Palette) -> None:
    assert sum(palette.lit) > 1.3 * sum(palette.shade)
    assert sum(palette.cloud_lit) > 1.15 * sum(palette.cloud_shade)
    assert sum(palette.sun) > sum(palette.horizon) > sum(palette.zenith)
    assert time == "night" or sum(palette.lit) > sum(PALETTES[style]["night"].lit)


def test_no_two_times_or_styles_share_a_sky() -> None:
    skies = {(palette.zenith, palette.horizon) for *_, palette in ALL}
    assert len(skies) == len(ALL)
