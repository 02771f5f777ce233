"""What a scene contains, and the caption that says so."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

Split = Literal["train", "held_out", "any"]

TIMES = ("dawn", "day", "sunset", "night")
GROUNDS = ("green hills", "snow", "desert", "sea", "flower meadow")
OBJECTS = (
    "none",
    "castle",
    "house",
    "tree",
    "windmill",
    "lighthouse",
    "sailboat",
    "hot air balloon",
)
MOUNTAINS = ("none", "mountains", "snowy mountains")
STYLES = ("miyazaki", "gothic", "cyberpunk")
# Night has its own lights; the sun belongs to the other times.
NIGHT_LIGHTS = ("stars", "moon", "moon, stars")
DAY_LIGHTS = ("none", "sun")

HELD_OUT_SHARE = 0.15


@dataclass(frozen=True)
class Scene:
    """One landscape. `seed` fixes everything the words leave open (places, shapes, sizes)."""

    time: str
    light: str
    clouds: bool
    mountains: str
    ground: str
    object: str
    seed: int

    @classmethod
    def sample(cls, seed: int, split: Split = "any") -> Scene:
        """Draw a scene from `seed`; `split` keeps to combinations (not) seen in training."""
        rng = np.random.default_rng((seed, 7))
        while True:
            scene = cls._sample_once(rng, seed)
            if split == "any" or scene.held_out == (split == "held_out"):
                return scene

    @classmethod
    def _sample_once(cls, rng: np.random.Generator, seed: int) -> Scene:
        time = TIMES[rng.integers(len(TIMES))]
        lights = NIGHT_LIGHTS if time == "night" else DAY_LIGHTS
        ground = GROUNDS[rng.integers(len(GROUNDS))]
        # A sailboat needs water, so the sea gives it a larger share to balance the objects.
        names = OBJECTS if ground == "sea" else [name for name in OBJECTS if name != "sailboat"]
        weights = np.array([3.0 if name == "sailboat" else 1.0 for name in names])
        return cls(
            time=time,
            light=lights[rng.integers(len(lights))],
            clouds=bool(rng.random() < 0.5),
            mountains=MOUNTAINS[rng.integers(len(MOUNTAINS))],
            ground=ground,
            object=names[rng.choice(len(names), p=weights / weights.sum())],
            seed=seed,
        )

    @property
    def held_out(self) -> bool:
        """True when this combination of words is kept from training, whatever the seed."""
        return zlib.crc32(self.caption().encode()) % 1000 < HELD_OUT_SHARE * 1000

    def parts(self) -> list[str]:
        """The caption's phrases in their usual order: object, light, sky, land, time."""
        parts = [] if self.object == "none" else [f"a {self.object}"]
        if self.light != "none":
            parts += self.light.split(", ")
        parts.append("clouds" if self.clouds else "clear sky")
        if self.mountains != "none":
            parts.append(self.mountains)
        return [*parts, self.ground, self.time]

    def caption(self) -> str:
        """The whole caption, for instance "a castle, clouds, green hills, day"."""
        return ", ".join(self.parts())

    def training_caption(self, rng: np.random.Generator) -> str:
        """A caption as people type it: half are whole, the others miss parts or change order."""
        parts = self.parts()
        if rng.random() < 0.5:
            return ", ".join(parts)
        vital = {self.ground, self.time, f"a {self.object}"}
        kept = [part for part in parts if rng.random() >= (0.12 if part in vital else 0.45)]
        if rng.random() < 0.4:
            kept = [kept[index] for index in rng.permutation(len(kept))]
        return ", ".join(kept or parts)


def styled(caption: str, style: str | None) -> str:
    """Put a style's trigger words in front of a caption."""
    return f"{style} style, {caption}" if style else caption
