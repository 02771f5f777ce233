"""The eight objects, drawn on a sprite: large, near the middle, each with its own outline.

Every function draws around (0, 0), the middle of the foot, in units of 1/128 of the picture at
scale 1, through a `Pen` that moves, scales and lights. `gothic` sharpens roofs into spires.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.scenes.canvas import RGB, Sprite


@dataclass(frozen=True)
class Pen:
    """Places shapes on a sprite and colours them for the time of day."""

    sprite: Sprite
    cx: float
    foot: float
    scale: float
    lit: RGB
    shade: RGB
    sun_left: bool
    window: RGB
    spire: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Picture coordinates of the point (x, y); y grows upwards here."""
        return self.cx + x * self.scale, self.foot - y * self.scale

    def light(self, color: RGB, amount: float) -> RGB:
        """`color` under the scene's light: amount 1 faces the sun, 0 is in shade."""
        red, green, blue = (
            value * (shade + (lit - shade) * amount) / 255
            for value, lit, shade in zip(color, self.lit, self.shade, strict=True)
        )
        return red, green, blue

    def polygon(self, color: RGB, amount: float, *points: tuple[float, float]) -> None:
        """A lit polygon."""
        self.sprite.polygon(self.light(color, amount), *(self.at(x, y) for x, y in points))

    def wall(self, color: RGB, left: float, bottom: float, right: float, top: float) -> None:
        """A wall with its sunny side and its shaded side."""
        split = left + (right - left) * (0.62 if self.sun_left else 0.38)
        for a, b, amount in ((left, split, self.sun_left), (split, right, not self.sun_left)):
            shade = 1.0 if amount else 0.35
            self.polygon(color, shade, (a, bottom), (b, bottom), (b, top), (a, top))

    def roof(self, color: RGB, left: float, right: float, base: float, height: float) -> None:
        """A pointed roof in two tones."""
        top, middle = base + height * self.spire, (left + right) / 2
        sunny, dark = (1.0, 0.4) if self.sun_left else (0.4, 1.0)
        self.polygon(color, sunny, (left, base), (middle, base), (middle, top))
        self.polygon(color, dark, (middle, base), (right, base), (middle, top))

    def glass(self, left: float, bottom: float, right: float, top: float) -> None:
        """A window: dark by day, lit by night."""
        corners = ((left, bottom), (right, bottom), (right, top), (left, top))
        self.sprite.polygon(self.window, *(self.at(x, y) for x, y in corners))

    def ellipse(self, color: RGB, amount: float, x: float, y: float, rx: float, ry: float) -> None:
        """A lit ellipse."""
        radii = rx * self.scale, ry * self.scale
        self.sprite.ellipse(self.light(color, amount), *self.at(x, y), *radii)


def castle(pen: Pen, rng: np.random.Generator) -> None:
    """Stone walls between towers with blue or red cone roofs; 60 wide, 58 high."""
    stone: RGB = (214, 206, 200)
    roof: RGB = ((70, 92, 170), (176, 66, 66))[rng.integers(2)]
    pen.wall(stone, -9, 0, 9, 38)
    pen.roof(roof, -11, 11, 38, 20)
    pen.wall(stone, -24, 0, 24, 20)
    for x in (-20, -12, -4, 4, 12):
        pen.wall(stone, x, 20, x + 5, 23)
    for x in (-22, 22):
        pen.wall(stone, x - 6, 0, x + 6, 30)
        pen.roof(roof, x - 8, x + 8, 30, 16)
        pen.glass(x - 1.5, 17, x + 1.5, 23)
    pen.polygon((86, 60, 44), 0.6, (-5, 0), (5, 0), (5, 9), (0, 13), (-5, 9))
    pen.glass(-2, 27, 2, 33)


def house(pen: Pen, rng: np.random.Generator) -> None:
    """Cream walls, a wide red gable, a chimney, a door; 50 wide, 43 high."""
    pen.wall((168, 96, 82), 9, 24, 15, 43)
    pen.wall((250, 232, 200), -20, 0, 20, 22)
    sunny, dark = (1.0, 0.6) if pen.sun_left else (0.6, 1.0)
    red: RGB = (206, 72, 56)
    peak = 22 + 18 * pen.spire
    pen.polygon(red, sunny, (-26, 21), (0, 21), (0, peak))
    pen.polygon(red, dark, (0, 21), (26, 21), (0, peak))
    pen.polygon((110, 66, 42), 0.7, (-4, 0), (5, 0), (5, 14), (-4, 14))
    for x in (-14, 10):
        pen.glass(x, 9, x + 6, 16)


def tree(pen: Pen, rng: np.random.Generator) -> None:
    """One broad round crown on a thick trunk; 48 wide, 58 high."""
    bark: RGB = (118, 78, 50)
    trunk = ((-5, 0), (6, 0), (3, 12), (4, 30), (-3, 30), (-2, 12))
    pen.polygon(bark, 0.7, *trunk)
    side = -1 if pen.sun_left else 1
    leaves: RGB = (48, 128, 54)
    puffs = [(-13, 30, 11), (13, 31, 11), (0, 44, 14), (-9, 40, 12), (10, 41, 12), (0, 32, 14)]
    jitter = rng.uniform(-1.5, 1.5, (len(puffs), 2))
    for (x, y, r), (dx, dy) in zip(puffs, jitter, strict=True):
        pen.ellipse(leaves, 0.25, x + dx, y + dy, r, r * 0.9)
    for (x, y, r), (dx, dy) in zip(puffs, jitter, strict=True):
        pen.ellipse(leaves, 0.95, x + dx + side * 2.5, y + dy + 2.5, r * 0.68, r * 0.62)
    for (x, y, r), (dx, dy) in list(zip(puffs, jitter, strict=True))[2:5]:
        pen.ellipse((112, 178, 76), 1.0, x + dx + side * 4, y + dy + 4, r * 0.4, r * 0.34)


def windmill(pen: Pen, rng: np.random.Generator) -> None:
    """A white tapered tower, a brown cap and four large sails; 54 wide, 64 high."""
    white: RGB = (240, 232, 220)
    sunny, dark = (1.0, 0.4) if pen.sun_left else (0.4, 1.0)
    pen.polygon(white, sunny, (-12, 0), (0, 0), (0, 36), (-7, 36))
    pen.polygon(white, dark, (0, 0), (12, 0), (7, 36), (0, 36))
    pen.polygon((150, 82, 52), 0.8, (-9, 35), (9, 35), (0, 35 + 11 * pen.spire))
    pen.polygon((104, 64, 44), 0.6, (-4, 0), (4, 0), (4, 10), (-4, 10))
    pen.glass(-2, 18, 2, 24)
    turn = rng.uniform(0.35, 1.2)
    for blade in range(4):
        angle = turn + blade * np.pi / 2
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        hub = np.array([0.0, 37.0])
        corners = [hub + along * 6, hub + along * 28, hub + along * 28 + across * 7.5]
        corners.append(hub + along * 8 + across * 6)
        pen.polygon((226, 190, 140), 0.9, *((float(x), float(y)) for x, y in corners))
        spar = [hub - across * 0.8, hub + along * 29 - across * 0.8, hub + along * 29 + across]
        spar.append(hub + across)
        pen.polygon((120, 74, 48), 0.8, *((float(x), float(y)) for x, y in spar))
    pen.ellipse((96, 58, 40), 0.8, 0, 37, 2.4, 2.4)


def lighthouse(pen: Pen, rng: np.random.Generator) -> None:
    """A slim tower in red and white bands under a lantern; 20 wide, 67 high."""
    sunny, dark = (1.0, 0.45) if pen.sun_left else (0.45, 1.0)
    bands = 5
    for band in range(bands):
        low, high = 50 * band / bands, 50 * (band + 1) / bands
        a, b = 10 - low * 0.08, 10 - high * 0.08
        color: RGB = (214, 46, 46) if band % 2 == 0 else (246, 242, 236)
        pen.polygon(color, sunny, (-a, low), (0, low), (0, high), (-b, high))
        pen.polygon(color, dark, (0, low), (a, low), (b, high), (0, high))
    pen.wall((70, 70, 80), -9, 50, 9, 52)
    pen.sprite.polygon(
        (255, 236, 150), *(pen.at(x, y) for x, y in ((-5, 52), (5, 52), (5, 59), (-5, 59)))
    )
    pen.roof((176, 40, 44), -7, 7, 59, 8)


def sailboat(pen: Pen, rng: np.random.Generator) -> None:
    """Two white sails over a brown hull; 52 wide, 58 high."""
    hull: RGB = (150, 78, 46)
    pen.polygon(hull, 0.9, (-26, 10), (26, 10), (18, 0), (-18, 0))
    pen.polygon((236, 224, 206), 0.9, (-26, 10), (26, 10), (25, 8), (-25, 8))
    pen.polygon((90, 56, 40), 0.8, (-1, 10), (1, 10), (1, 58), (-1, 58))
    pen.polygon((255, 250, 240), 1.0 if pen.sun_left else 0.6, (-3, 14), (-3, 54), (-24, 14))
    jib: RGB = ((232, 84, 70), (255, 236, 206))[rng.integers(2)]
    pen.polygon(jib, 0.6 if pen.sun_left else 1.0, (3, 13), (3, 57), (25, 13))


def balloon(pen: Pen, rng: np.random.Generator) -> None:
    """A striped balloon with its basket, high in the sky; 46 wide, 58 high."""
    stripes: tuple[RGB, RGB] = (((232, 64, 60), (255, 206, 72)), ((60, 110, 210), (250, 244, 236)))[
        rng.integers(2)
    ]
    for x in (-7, 7):
        pen.polygon((100, 74, 56), 0.8, (x, 16), (x * 0.45, 6), (x * 0.45 + 0.8, 6), (x + 1, 16))
    pen.wall((160, 104, 62), -4.5, 0, 4.5, 7)
    widths = (23, 18.5, 13, 7.5, 2.6)
    for index, width in enumerate(widths):
        color = stripes[index % 2]
        pen.ellipse(color, 0.9, 0, 36, width, 22)
        pen.polygon(
            color,
            0.9,
            (-width * 0.93, 28),
            (width * 0.93, 28),
            (width * 0.3, 12),
            (-width * 0.3, 12),
        )
    del rng


DRAWERS: dict[str, Callable[[Pen, np.random.Generator], None]] = {
    "castle": castle,
    "house": house,
    "tree": tree,
    "windmill": windmill,
    "lighthouse": lighthouse,
    "sailboat": sailboat,
    "hot air balloon": balloon,
}
