"""A float picture with anti-aliased layers; lengths are in 128ths of the picture's side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float32]
RGB = tuple[float, float, float]
Ink = RGB


def rgb(color: RGB | Array) -> Array:
    """A colour in 0..255 as a float32 [3] in 0..1."""
    return np.asarray(color, np.float32) / np.float32(255)


def mix(a: Array, b: Array, share: float | Array) -> Array:
    """Linear blend from `a` (share 0) to `b` (share 1)."""
    return np.asarray(a + (b - a) * share, np.float32)


def smoothstep(x: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, a cubic between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def noise1d(rng: np.random.Generator, x: Array, wavelength: float, octaves: int = 3) -> Array:
    """Sum of random sines over `x`, within about -1..1; `wavelength` is the longest one."""
    total = np.zeros_like(x)
    for octave in range(octaves):
        phase, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.25)
        step = 2 * np.pi * 2**octave / (wavelength * stretch)
        total += np.sin(x * np.float32(step) + np.float32(phase)) * np.float32(0.5**octave)
    return np.asarray(total / 1.6, np.float32)


class Canvas:
    """`pixels` [size, size, 3] in 0..1, and the pixel centres `x` [1, size] and `y` [size, 1]."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pixel = 128 / size
        centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(self.pixel)
        self.x = centres[None, :]
        self.y = centres[:, None]
        self.pixels: Array = np.zeros((size, size, 3), np.float32)

    def paint(self, color: Array, alpha: Array) -> None:
        """Lay `color` [3] or [size, size, 3] over the picture, covering `alpha` [size, size]."""
        self.pixels += alpha[..., None] * (color - self.pixels)

    def glow(self, color: Array, amount: Array) -> None:
        """Screen `color` onto the picture, so that light never burns out."""
        self.pixels += amount[..., None] * color * (1 - self.pixels)

    def below(self, height: Array) -> Array:
        """Coverage [size, size] of the area under the line y = `height` [size]."""
        slope = np.gradient(height) / np.float32(self.pixel)
        distance = (self.y - height[None, :]) / np.sqrt(1 + slope[None, :] ** 2)
        return np.asarray(np.clip(distance / self.pixel + 0.5, 0, 1), np.float32)

    def disc(self, cx: float, cy: float, radius: float) -> Array:
        """Coverage [size, size] of a disc."""
        cover = np.clip((radius - self.distance(cx, cy)) / self.pixel + 0.5, 0, 1)
        return np.asarray(cover, np.float32)

    def distance(self, cx: float, cy: float, stretch: float = 1.0) -> Array:
        """Distance [size, size] to a point; `stretch` flattens the circles."""
        dx, dy = self.x - np.float32(cx), (self.y - np.float32(cy)) * np.float32(stretch)
        return np.asarray(np.sqrt(dx * dx + dy * dy), np.float32)

    def noise(self, rng: np.random.Generator, cell_x: float, cell_y: float) -> Array:
        """Smooth noise [size, size] within about -1..1 with cells of the given lengths."""
        shape = (max(2, round(128 / cell_y)), max(2, round(128 / cell_x)))
        grid = rng.uniform(-1, 1, shape).astype(np.float32)
        image = Image.fromarray(grid).resize((self.size, self.size), Image.Resampling.BICUBIC)
        return np.asarray(image, np.float32)

    def sprite(self) -> Sprite:
        """A supersampled transparent layer with this canvas's coordinates."""
        return Sprite(self.size)

    def lay(self, sprite: Sprite) -> tuple[Array, Array]:
        """Colours [size, size, 3], premultiplied, and coverage [size, size] of a sprite."""
        reduced = sprite.image.convert("RGBa").reduce(sprite.supersampling)
        layer = np.asarray(reduced, np.float32) / np.float32(255)
        return layer[..., :3], layer[..., 3]


class Sprite:
    """Solid shapes with hard edges, drawn large and reduced once by `Canvas.lay`."""

    supersampling = 4

    def __init__(self, size: int) -> None:
        side = size * self.supersampling
        self.scale = side / 128
        self.image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        self._pen = ImageDraw.Draw(self.image)

    def polygon(self, color: Ink, *points: tuple[float, float]) -> None:
        """Fill the polygon through `points`."""
        self._pen.polygon([(x * self.scale, y * self.scale) for x, y in points], fill=ink(color))

    def box(self, color: Ink, left: float, top: float, right: float, bottom: float) -> None:
        """Fill an axis-parallel rectangle."""
        corners = [value * self.scale for value in (left, top, right, bottom)]
        self._pen.rectangle(corners, fill=ink(color))

    def ellipse(self, color: Ink, cx: float, cy: float, rx: float, ry: float) -> None:
        """Fill an axis-parallel ellipse."""
        corners = [value * self.scale for value in (cx - rx, cy - ry, cx + rx, cy + ry)]
        self._pen.ellipse(corners, fill=ink(color))

    def line(self, color: Ink, width: float, *points: tuple[float, float]) -> None:
        """Draw a line through `points`."""
        path = [(x * self.scale, y * self.scale) for x, y in points]
        self._pen.line(path, fill=ink(color), width=max(1, round(width * self.scale)))


def ink(color: Ink) -> tuple[int, int, int, int]:
    """A 0..255 colour, clipped, opaque."""
    red, green, blue = (int(min(255, max(0, round(value)))) for value in color)
    return red, green, blue, 255
