"""From a `Scene` to a picture, back to front: sky, clouds, mountains, ground, object, air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.scenes import effects
from models.scenes.canvas import RGB, Array, Canvas, mix, noise1d, rgb, smoothstep
from models.scenes.objects import DRAWERS, Pen
from models.scenes.palette import (
    FLOWERS,
    GROUND_COLORS,
    NEON,
    PALETTES,
    ROCK,
    SNOWCAP,
    Palette,
)
from models.scenes.scene import Scene

# Snow and sand keep some of their own colour in coloured light, or the two would look alike.
GROUND_WHITENING = {"snow": 0.3, "desert": 0.12}


@dataclass(frozen=True)
class Stage:
    """What every layer needs: canvas, scene, colours, chance, and where the light stands."""

    canvas: Canvas
    scene: Scene
    style: str | None
    palette: Palette
    rng: np.random.Generator
    horizon: float
    sun_x: float
    sun_y: float

    @property
    def sun_left(self) -> bool:
        """Whether light comes from the left."""
        return self.sun_x < 64

    def surface(self, color: RGB, amount: Array | float) -> Array:
        """A surface colour under this light; `amount` 1 faces the sun, 0 is in shade."""
        light = mix(rgb(self.palette.shade), rgb(self.palette.lit), _column(amount))
        whitening = GROUND_WHITENING.get(self.scene.ground, 0.0) if self.style is None else 0.0
        light = mix(light, np.ones(3, np.float32), whitening)
        base = rgb(color)
        if self.style == "gothic":
            base = mix(base, np.full(3, base.mean(), np.float32), 0.6)
        if self.style == "miyazaki":
            base = mix(np.full(3, base.mean(), np.float32), base, 1.25)
        return np.asarray(np.clip(base * light, 0, 1), np.float32)


def _column(amount: Array | float) -> Array | float:
    return amount[..., None] if isinstance(amount, np.ndarray) else amount


def draw(scene: Scene, style: str | None = None, size: int = 128) -> NDArray[np.uint8]:
    """Draw `scene`, plain or in a style, as uint8 RGB [size, size, 3]."""
    rng = np.random.default_rng((scene.seed, 11))
    horizon = float(rng.uniform(66, 76))
    sun_x = float(rng.uniform(14, 36) if rng.random() < 0.5 else rng.uniform(92, 114))
    low_sun = scene.time in ("dawn", "sunset")
    sun_y = horizon - float(rng.uniform(14, 26)) if low_sun else float(rng.uniform(14, 30))
    palette = PALETTES[style][scene.time]
    stage = Stage(Canvas(size), scene, style, palette, rng, horizon, sun_x, sun_y)
    _sky(stage)
    _lights(stage)
    if style == "miyazaki":
        effects.cumulus(stage.canvas, rng, palette, horizon, stage.sun_left)
    if scene.clouds:
        _clouds(stage)
    if style == "cyberpunk":
        effects.skyline(stage.canvas, rng, horizon, palette.shade)
    if scene.mountains != "none":
        _mountains(stage)
    _ground(stage)
    if style == "gothic":
        effects.fog(stage.canvas, rng, rgb(palette.horizon), horizon)
    if scene.object != "none":
        _object(stage)
    if style == "miyazaki":
        effects.brush(stage.canvas, rng)
    if style == "gothic":
        effects.gloom(stage.canvas, rng, rgb(palette.horizon))
    if style == "cyberpunk":
        effects.wet_air(stage.canvas)
        effects.rain(stage.canvas, rng)
    pixels = np.clip(stage.canvas.pixels, 0, 1)
    return np.asarray(np.rint(pixels * 255), np.uint8)


def _sky(stage: Stage) -> None:
    canvas, palette = stage.canvas, stage.palette
    height = np.clip(canvas.y / np.float32(stage.horizon), 0, 1) ** np.float32(1.2)
    sky = mix(rgb(palette.zenith), rgb(palette.horizon), height[..., None])
    canvas.pixels[:] = sky


def _lights(stage: Stage) -> None:
    canvas, rng, palette = stage.canvas, stage.rng, stage.palette
    light = stage.scene.light
    sun = rgb(palette.sun)
    if "stars" in light:
        for x, y, size in rng.uniform((2, 2, 0.7), (126, stage.horizon - 8, 1.5), (24, 3)):
            canvas.glow(sun, canvas.disc(x, y, size) * np.float32(0.95))
    if light == "sun":
        distance = canvas.distance(stage.sun_x, stage.sun_y)
        canvas.glow(sun, np.exp(-distance / 16) * np.float32(0.75))
        canvas.paint(sun, canvas.disc(stage.sun_x, stage.sun_y, 9.5))
    if "moon" in light:
        distance = canvas.distance(stage.sun_x, stage.sun_y)
        canvas.glow(sun, np.exp(-distance / 14) * np.float32(0.4))
        canvas.paint(sun, canvas.disc(stage.sun_x, stage.sun_y, 9))
        if stage.scene.seed % 2:
            shift = 4 if stage.sun_left else -4
            sky = mix(rgb(palette.zenith), rgb(palette.horizon), 0.25)
            canvas.paint(sky, canvas.disc(stage.sun_x + shift, stage.sun_y - 2, 7.5))


def _clouds(stage: Stage) -> None:
    rng = stage.rng
    count = int(rng.integers(3, 5))
    for index in range(count):
        cx = (index + rng.uniform(0.2, 0.8)) * 128 / count
        cy = rng.uniform(12, stage.horizon - 24)
        effects.puff_cloud(
            stage.canvas, rng, stage.palette, cx, cy, rng.uniform(9, 14), stage.sun_left
        )


def _mountains(stage: Stage) -> None:
    canvas, rng = stage.canvas, stage.rng
    x = canvas.x[0]
    pointed = stage.style == "gothic"
    for layer, (lift, haze) in enumerate(((30.0, 0.5), (19.0, 0.28))):
        peaks = rng.uniform(-10, 138, 5)
        heights = rng.uniform(0.6, 1.0, 5) * lift
        slopes = rng.uniform(0.7, 1.1, 5) * (1.9 if pointed else 1.0)
        tents = heights[:, None] - slopes[:, None] * np.abs(x[None, :] - peaks[:, None])
        rough = noise1d(rng, x, 18, 4) * 1.6
        rise = np.maximum(tents.max(axis=0), 4) * (1.25 if pointed else 1.0) + rough
        line = np.asarray(stage.horizon + 2 - rise, np.float32)
        slope = np.gradient(line) / np.float32(canvas.pixel)
        facing = np.clip((slope if stage.sun_left else -slope) * -0.6 + 0.5, 0, 1)
        crease = canvas.noise(rng, 9, 14) * np.float32(0.25)
        amount = np.clip(facing[None, :] + crease, 0, 1)
        color = stage.surface(ROCK, amount)
        if stage.scene.mountains == "snowy mountains":
            depth = canvas.y - line[None, :] + noise1d(rng, x, 10, 3)[None, :] * 2.5
            snow = 1 - smoothstep(depth, 8.5 - layer * 2, 11 - layer * 2)
            color = mix(color, stage.surface(SNOWCAP, amount), snow[..., None])
        color = mix(color, rgb(stage.palette.horizon), haze)
        canvas.paint(color, canvas.below(line))


def _ground(stage: Stage) -> None:
    if stage.scene.ground == "sea":
        _sea(stage)
    else:
        _land(stage)
    if stage.scene.ground == "flower meadow":
        _flowers(stage)
    if stage.style == "cyberpunk":
        effects.neon_grid(stage.canvas, stage.horizon)


def _sea(stage: Stage) -> None:
    canvas, rng, palette = stage.canvas, stage.rng, stage.palette
    depth = np.clip((canvas.y - stage.horizon) / (128 - np.float32(stage.horizon)), 0, 1)
    near = stage.surface(GROUND_COLORS["sea"], 0.55)
    far = mix(stage.surface(GROUND_COLORS["sea"], 1.0), rgb(palette.horizon), 0.45)
    flat = mix(far, near, np.sqrt(depth)[..., None])
    waves = canvas.noise(rng, 22, 4) * 0.6 + canvas.noise(rng, 12, 2.6) * 0.4
    glint = smoothstep(np.asarray(waves, np.float32), 0.12, 0.4) * (0.2 + 0.3 * depth)
    water = mix(flat, rgb(palette.cloud_lit), glint[..., None] * 0.6)
    cover = np.clip((canvas.y - stage.horizon) / canvas.pixel + 0.5, 0, 1)
    canvas.paint(water, np.broadcast_to(cover, glint.shape))
    if stage.scene.light != "none" and stage.scene.light != "stars":
        spread = np.exp(-np.abs(canvas.x - stage.sun_x) / (5 + depth * 8))
        canvas.glow(rgb(palette.sun), spread * (canvas.y > stage.horizon) * (0.25 + glint))


def _land(stage: Stage) -> None:
    canvas, rng = stage.canvas, stage.rng
    x = canvas.x[0]
    ground = stage.scene.ground
    base = GROUND_COLORS[ground]
    rolls = {"green hills": 5.0, "snow": 3.2, "desert": 4.5, "flower meadow": 2.2}[ground]
    for layer, haze in enumerate((0.34, 0.14, 0.0)):
        line = stage.horizon + layer * 13 + noise1d(rng, x, 88 - 8 * layer, 2) * rolls
        slope = np.gradient(line) / np.float32(canvas.pixel)
        lean = slope if stage.sun_left else -slope
        depth = np.clip((canvas.y - line[None, :]) / 26, 0, 1)
        amount = np.clip(0.92 - 1.1 * lean[None, :] * (1 - depth) - 0.4 * depth, 0.05, 1)
        if ground == "desert":
            # A dune turns its lee side away from the light along one crest.
            lee = smoothstep(lean[None, :], 0.0, 0.12) * (1 - depth)
            amount = amount * (1 - np.float32(0.5) * lee)
            ripple = np.sin(canvas.y * 1.6 + noise1d(rng, x, 40, 2)[None, :] * 3)
            amount = np.clip(amount + ripple * np.float32(0.05), 0, 1)
        amount = np.clip(amount + canvas.noise(rng, 10, 5) * np.float32(0.07), 0, 1)
        color = mix(stage.surface(base, amount), rgb(stage.palette.horizon), haze)
        canvas.paint(color, canvas.below(np.asarray(line, np.float32)))
        if layer == 1 and ground in ("green hills", "snow"):
            _copse(stage, line)


def _copse(stage: Stage, line: Array) -> None:
    """Small dark firs, snow-laden in snow, along a ridge."""
    sprite = stage.canvas.sprite()
    snowy = stage.scene.ground == "snow"
    dark = stage.surface((52, 96, 84) if snowy else (52, 118, 62), 0.4) * 255
    for px in stage.rng.choice(np.arange(6, 124, 7), 6, replace=False):
        foot = float(line[int(px / stage.canvas.pixel)]) + 2
        tall = float(stage.rng.uniform(7, 11))
        color = (float(dark[0]), float(dark[1]), float(dark[2]))
        sprite.polygon(color, (px - 3, foot), (px + 3, foot), (px, foot - tall))
    colors, alpha = stage.canvas.lay(sprite)
    stage.canvas.pixels *= 1 - alpha[..., None]
    stage.canvas.pixels += colors


def _flowers(stage: Stage) -> None:
    sprite = stage.canvas.sprite()
    for _ in range(85):
        depth = float(stage.rng.uniform(0.08, 1))
        px = float(stage.rng.uniform(0, 128))
        py = stage.horizon + 5 + (124 - stage.horizon) * depth
        color = stage.surface(FLOWERS[stage.rng.integers(len(FLOWERS))], 0.95) * 255
        radius = 0.7 + 1.9 * depth
        red, green, blue = (float(value) for value in color)
        sprite.ellipse((red, green, blue), px, py, radius, radius * 0.8)
    colors, alpha = stage.canvas.lay(sprite)
    stage.canvas.pixels *= 1 - alpha[..., None]
    stage.canvas.pixels += colors


def _object(stage: Stage) -> None:
    canvas, rng, scene = stage.canvas, stage.rng, stage.scene
    cx, scale = float(rng.uniform(52, 76)), float(rng.uniform(0.92, 1.08))
    foot = float(
        rng.uniform(66, 74) if scene.object == "hot air balloon" else rng.uniform(100, 106)
    )
    if scene.ground == "sea" and scene.object not in ("sailboat", "hot air balloon"):
        island = canvas.distance(cx, foot + 7, 2.8)
        bank = np.clip((36 - island) / canvas.pixel + 0.5, 0, 1)
        shade = np.clip(0.8 - (canvas.y - foot) / 14, 0, 1) + 0 * canvas.x
        canvas.paint(stage.surface((150, 132, 108), shade), bank * (canvas.y < foot + 9))
    elif scene.object != "hot air balloon":
        shadow = np.exp(-((canvas.distance(cx, foot, 5.0) / 27) ** 4)) * np.float32(0.4)
        canvas.paint(stage.surface((40, 50, 60), 0.2), shadow)
    dusk = scene.time in ("sunset", "night") or stage.style == "cyberpunk"
    neon = NEON[scene.seed % len(NEON)]
    window = (neon if stage.style == "cyberpunk" else (255, 214, 110)) if dusk else (70, 84, 110)
    lit, shade_color = _object_light(stage)
    spire = 1.7 if stage.style == "gothic" else 1.0
    sprite = canvas.sprite()
    pen = Pen(sprite, cx, foot, scale, lit, shade_color, stage.sun_left, window, spire)
    DRAWERS[scene.object](pen, rng)
    colors, alpha = canvas.lay(sprite)
    if stage.style == "cyberpunk":
        effects.neon_halo(canvas, alpha, rgb(neon))
    canvas.pixels *= 1 - alpha[..., None]
    canvas.pixels += colors
    if stage.style == "cyberpunk":
        effects.neon_edge(canvas, alpha, rgb(neon))
    if scene.object == "lighthouse" and dusk:
        glow = np.exp(-canvas.distance(cx, foot - 55 * scale) / 7) * np.float32(0.8)
        canvas.glow(rgb((255, 232, 150)), glow)


def _object_light(stage: Stage) -> tuple[RGB, RGB]:
    """Objects take a little more light than the land, so that they stay readable at night."""
    lift = {"night": 1.3, "sunset": 1.05}.get(stage.scene.time, 1.0)
    if stage.style == "gothic":
        lift = 0.85
    red, green, blue = (min(255.0, value * lift) for value in stage.palette.lit)
    low = stage.palette.shade
    return (red, green, blue), (low[0] * lift, low[1] * lift, low[2] * lift)
