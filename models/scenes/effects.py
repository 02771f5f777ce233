"""Clouds, and what makes a style: cumulus and brush, fog and gloom, skyline, neon and rain."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from models.scenes.canvas import RGB, Array, Canvas, mix, rgb, smoothstep
from models.scenes.palette import NEON, Palette


def puff_cloud(
    canvas: Canvas,
    rng: np.random.Generator,
    palette: Palette,
    cx: float,
    cy: float,
    radius: float,
    sun_left: bool,
) -> None:
    """A flat-bottomed cloud of round puffs, lit from above and from the sun's side."""
    count = 6
    xs = cx + np.linspace(-1.5, 1.5, count) * radius + rng.uniform(-2, 2, count)
    radii = (
        radius * (0.45 + 0.5 * np.sin(np.linspace(0.5, 2.7, count))) * rng.uniform(0.8, 1.1, count)
    )
    cover = np.zeros((canvas.size, canvas.size), np.float32)
    light = np.zeros_like(cover)
    side = -0.45 if sun_left else 0.45
    for px, pr in zip(xs, radii, strict=True):
        py = cy - pr * 0.55
        distance = canvas.distance(px, py)
        puff = 1 - smoothstep(distance, pr * 0.8, pr * 1.06)
        toward = ((canvas.x - px) * side - (canvas.y - py)) / pr
        light = np.where(puff > cover, toward, light)
        cover = np.maximum(cover, puff)
    flat = 1 - smoothstep(canvas.y, cy - 1.5, cy + 2.5)
    tone = np.clip(0.62 + 0.5 * light, 0, 1)[..., None]
    canvas.paint(mix(rgb(palette.cloud_shade), rgb(palette.cloud_lit), tone), cover * flat * 0.95)


def cumulus(
    canvas: Canvas,
    rng: np.random.Generator,
    palette: Palette,
    horizon: float,
    sun_left: bool,
) -> None:
    """A towering bank of cumulus on the horizon (miyazaki)."""
    cx = float(rng.uniform(88, 112) if sun_left else rng.uniform(16, 40))
    side = -0.5 if sun_left else 0.5
    for row in range(5):
        py = horizon - 42 + row * 10
        spread = 10 + row * 9
        for px in cx + np.linspace(-1, 1, 3 + row) * spread + rng.uniform(-4, 4, 3 + row):
            pr = float(rng.uniform(9, 14))
            distance = canvas.distance(px, py + rng.uniform(-3, 3))
            cover = 1 - smoothstep(distance, pr * 0.82, pr * 1.02)
            toward = ((canvas.x - px) * side - (canvas.y - py)) / pr
            tone = np.clip(0.66 + 0.55 * toward, 0, 1)[..., None]
            canvas.paint(mix(rgb(palette.cloud_shade), rgb(palette.cloud_lit), tone), cover)


def brush(canvas: Canvas, rng: np.random.Generator) -> None:
    """Soft strokes: a slow noise moves the picture, a short one its light (miyazaki)."""
    top = canvas.size - 1
    place = np.arange(canvas.size, dtype=np.float32)
    reach = np.float32(1.4 / canvas.pixel)
    rows = np.clip(place[:, None] + canvas.noise(rng, 7, 7) * reach, 0, top - 1e-3)
    columns = np.clip(place[None, :] + canvas.noise(rng, 7, 7) * reach, 0, top - 1e-3)
    row, column = rows.astype(np.intp), columns.astype(np.intp)
    down = np.asarray(rows - row, np.float32)[..., None]
    right = np.asarray(columns - column, np.float32)[..., None]
    pixels = canvas.pixels
    upper = mix(pixels[row, column], pixels[row, column + 1], right)
    lower = mix(pixels[row + 1, column], pixels[row + 1, column + 1], right)
    canvas.pixels = mix(upper, lower, down)
    strokes = canvas.noise(rng, 9, 4) * np.float32(0.06) + canvas.noise(rng, 4, 6) * 0.03
    canvas.pixels *= (1 + strokes)[..., None]


def fog(canvas: Canvas, rng: np.random.Generator, color: Array, horizon: float) -> None:
    """A bank of fog around the horizon (gothic)."""
    band = np.exp(-(((canvas.y - horizon - 6) / 13) ** 2))
    wisps = 0.72 + 0.28 * canvas.noise(rng, 34, 9)
    canvas.paint(color * np.float32(0.92), np.clip(band * wisps * 0.85, 0, 1))


def gloom(canvas: Canvas, rng: np.random.Generator, fog_color: Array) -> None:
    """Black spires at both sides, low mist, dark corners (gothic)."""
    sprite = canvas.sprite()
    dark: RGB = (14, 16, 22)
    for side in (0.0, 128.0):
        for _ in range(3):
            px = abs(side - float(rng.uniform(0, 17)))
            width, tall = float(rng.uniform(2.5, 4.5)), float(rng.uniform(34, 66))
            sprite.box(dark, px - width, 128 - tall, px + width, 128)
            sprite.polygon(
                dark,
                (px - width * 1.3, 128 - tall),
                (px + width * 1.3, 128 - tall),
                (px, 108 - tall),
            )
    colors, alpha = canvas.lay(sprite)
    canvas.pixels *= 1 - alpha[..., None]
    canvas.pixels += colors
    mist = np.clip((canvas.y - 104) / 40, 0, 1) * (0.5 + 0.3 * canvas.noise(rng, 30, 10))
    canvas.paint(fog_color * np.float32(0.8), np.asarray(mist + 0 * canvas.x, np.float32))
    corner = canvas.distance(64, 64) / 90
    canvas.pixels *= (1 - 0.4 * np.clip(corner, 0, 1) ** 2)[..., None]


def skyline(canvas: Canvas, rng: np.random.Generator, horizon: float, shade: RGB) -> None:
    """Towers with lit windows along the horizon (cyberpunk)."""
    sprite = canvas.sprite()
    for depth in range(2):
        left = -4.0
        while left < 128:
            width = float(rng.uniform(12, 19))
            top = horizon - float(rng.uniform(10, 44 - 16 * depth))
            tone = 0.95 - 0.35 * depth
            body = (shade[0] * tone * 0.7, shade[1] * tone * 0.7, shade[2] * tone * 0.9)
            sprite.box(body, left, top, left + width - 1, horizon + 22)
            neon = NEON[rng.integers(len(NEON))]
            glass = (neon[0] * 0.7, neon[1] * 0.7, neon[2] * 0.7)
            for wy in np.arange(top + 3.5, horizon - 1, 7.5):
                for wx in np.arange(left + 2, left + width - 4.5, 5.5):
                    if rng.random() < 0.5:
                        sprite.box(glass, wx, wy, wx + 3, wy + 3.6)
            left += width
    colors, alpha = canvas.lay(sprite)
    canvas.pixels *= 1 - alpha[..., None]
    canvas.pixels += colors


def neon_grid(canvas: Canvas, horizon: float) -> None:
    """Glowing horizontal lines on the ground that grow nearer with distance (cyberpunk)."""
    depth = np.clip((canvas.y - horizon) / (128 - horizon), 0, 1)
    stripes = 0.5 + 0.5 * np.cos(2 * np.pi * 5 * np.sqrt(depth))
    lines = smoothstep(np.asarray(stripes, np.float32), 0.84, 0.99) * (depth > 0.05)
    canvas.glow(rgb(NEON[0]), np.asarray(lines * (0.2 + 0.5 * depth) + 0 * canvas.x, np.float32))


def _blurred(alpha: Array, radius: float) -> Array:
    image = Image.fromarray(np.asarray(alpha * 255, np.uint8))
    return np.asarray(image.filter(ImageFilter.BoxBlur(radius)), np.float32) / np.float32(255)


def wet_air(canvas: Canvas) -> None:
    """Light scattered by rain: everything a little soft (cyberpunk)."""
    soft = np.stack([_blurred(np.clip(c, 0, 1), 1 / canvas.pixel) for c in _channels(canvas)], -1)
    canvas.pixels = mix(canvas.pixels, soft, 0.7)


def _channels(canvas: Canvas) -> list[Array]:
    return [canvas.pixels[..., index] for index in range(3)]


def neon_halo(canvas: Canvas, alpha: Array, neon: Array) -> None:
    """A wide glow behind the object (cyberpunk)."""
    canvas.glow(neon, _blurred(alpha, 7 / canvas.pixel) * np.float32(0.75))


def neon_edge(canvas: Canvas, alpha: Array, neon: Array) -> None:
    """A bright line along the object's outline (cyberpunk)."""
    edge = np.clip(alpha - _blurred(alpha, 1.2 / canvas.pixel), 0, 1) * 2.2
    canvas.glow(neon, np.clip(edge, 0, 1))


def rain(canvas: Canvas, rng: np.random.Generator) -> None:
    """Slanted streaks of light (cyberpunk)."""
    along = canvas.y + canvas.x * 0.35
    columns = canvas.x - canvas.y * 0.22
    streaks = np.zeros((canvas.size, canvas.size), np.float32)
    for _ in range(18):
        centre, start = rng.uniform(-28, 128), rng.uniform(-10, 140)
        length = rng.uniform(14, 30)
        across = np.clip(1 - np.abs(columns - centre) / 1.4, 0, 1)
        streaks = np.maximum(streaks, across * ((along > start) & (along < start + length)))
    canvas.glow(rgb((190, 214, 255)), streaks * np.float32(0.2))
