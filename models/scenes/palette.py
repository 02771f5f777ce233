"""Colours (0..255) of sky, light and ground for each style and time of day."""

from __future__ import annotations

from dataclasses import dataclass

from models.scenes.canvas import RGB


@dataclass(frozen=True)
class Palette:
    """The colours one time of day gives to everything.

    `lit` and `shade` multiply surfaces facing towards and away from the light, in 0..255.
    """

    zenith: RGB
    horizon: RGB
    sun: RGB
    lit: RGB
    shade: RGB
    cloud_lit: RGB
    cloud_shade: RGB


PLAIN = {
    "dawn": Palette(
        zenith=(150, 142, 212),
        horizon=(255, 214, 218),
        sun=(255, 246, 224),
        lit=(250, 214, 226),
        shade=(166, 140, 186),
        cloud_lit=(255, 236, 236),
        cloud_shade=(206, 172, 208),
    ),
    "day": Palette(
        zenith=(52, 134, 226),
        horizon=(196, 230, 252),
        sun=(255, 246, 186),
        lit=(255, 252, 240),
        shade=(172, 186, 206),
        cloud_lit=(255, 255, 255),
        cloud_shade=(194, 212, 234),
    ),
    "sunset": Palette(
        zenith=(156, 62, 92),
        horizon=(255, 176, 62),
        sun=(255, 240, 150),
        lit=(255, 176, 98),
        shade=(142, 74, 78),
        cloud_lit=(255, 178, 96),
        cloud_shade=(176, 76, 84),
    ),
    "night": Palette(
        zenith=(8, 12, 44),
        horizon=(44, 58, 120),
        sun=(246, 244, 220),
        lit=(92, 110, 168),
        shade=(42, 50, 92),
        cloud_lit=(80, 92, 150),
        cloud_shade=(38, 44, 88),
    ),
}

MIYAZAKI = {
    "dawn": Palette(
        zenith=(96, 130, 232),
        horizon=(255, 200, 176),
        sun=(255, 244, 200),
        lit=(255, 222, 196),
        shade=(116, 136, 186),
        cloud_lit=(255, 240, 222),
        cloud_shade=(184, 160, 224),
    ),
    "day": Palette(
        zenith=(14, 98, 226),
        horizon=(122, 214, 250),
        sun=(255, 250, 200),
        lit=(255, 255, 214),
        shade=(112, 170, 178),
        cloud_lit=(255, 255, 250),
        cloud_shade=(150, 192, 238),
    ),
    "sunset": Palette(
        zenith=(92, 70, 176),
        horizon=(255, 158, 70),
        sun=(255, 244, 170),
        lit=(255, 196, 104),
        shade=(112, 92, 140),
        cloud_lit=(255, 206, 126),
        cloud_shade=(206, 100, 138),
    ),
    "night": Palette(
        zenith=(8, 30, 98),
        horizon=(40, 116, 176),
        sun=(255, 252, 214),
        lit=(92, 156, 186),
        shade=(26, 72, 116),
        cloud_lit=(120, 164, 220),
        cloud_shade=(44, 84, 156),
    ),
}

GOTHIC = {
    "dawn": Palette(
        zenith=(70, 72, 92),
        horizon=(176, 160, 166),
        sun=(232, 224, 220),
        lit=(124, 120, 130),
        shade=(50, 50, 62),
        cloud_lit=(142, 136, 146),
        cloud_shade=(80, 80, 96),
    ),
    "day": Palette(
        zenith=(68, 82, 94),
        horizon=(164, 178, 182),
        sun=(230, 236, 232),
        lit=(122, 134, 136),
        shade=(46, 56, 62),
        cloud_lit=(146, 158, 162),
        cloud_shade=(78, 92, 100),
    ),
    "sunset": Palette(
        zenith=(44, 24, 36),
        horizon=(166, 74, 58),
        sun=(240, 170, 130),
        lit=(126, 82, 76),
        shade=(42, 28, 36),
        cloud_lit=(128, 66, 62),
        cloud_shade=(62, 32, 42),
    ),
    "night": Palette(
        zenith=(6, 9, 16),
        horizon=(56, 72, 86),
        sun=(216, 226, 226),
        lit=(66, 80, 90),
        shade=(18, 24, 30),
        cloud_lit=(62, 74, 84),
        cloud_shade=(22, 28, 36),
    ),
}

CYBERPUNK = {
    "dawn": Palette(
        zenith=(52, 28, 108),
        horizon=(255, 150, 196),
        sun=(255, 224, 236),
        lit=(150, 104, 172),
        shade=(56, 36, 92),
        cloud_lit=(206, 116, 186),
        cloud_shade=(84, 48, 126),
    ),
    "day": Palette(
        zenith=(44, 40, 128),
        horizon=(120, 190, 236),
        sun=(210, 250, 255),
        lit=(128, 132, 196),
        shade=(50, 44, 104),
        cloud_lit=(126, 146, 220),
        cloud_shade=(70, 64, 146),
    ),
    "sunset": Palette(
        zenith=(50, 12, 74),
        horizon=(255, 92, 96),
        sun=(255, 214, 120),
        lit=(156, 74, 120),
        shade=(58, 24, 70),
        cloud_lit=(220, 76, 112),
        cloud_shade=(92, 26, 90),
    ),
    "night": Palette(
        zenith=(14, 4, 40),
        horizon=(128, 26, 156),
        sun=(240, 200, 255),
        lit=(92, 60, 140),
        shade=(30, 16, 60),
        cloud_lit=(110, 40, 150),
        cloud_shade=(42, 14, 82),
    ),
}

PALETTES = {None: PLAIN, "miyazaki": MIYAZAKI, "gothic": GOTHIC, "cyberpunk": CYBERPUNK}

GROUND_COLORS: dict[str, RGB] = {
    "green hills": (104, 176, 74),
    "snow": (240, 246, 255),
    "desert": (242, 184, 92),
    "sea": (44, 122, 176),
    "flower meadow": (134, 196, 84),
}
FLOWERS: tuple[RGB, ...] = ((232, 56, 66), (255, 214, 50), (255, 250, 250), (242, 110, 190))
ROCK: RGB = (132, 124, 128)
SNOWCAP: RGB = (246, 250, 255)
NEON: tuple[RGB, ...] = ((255, 60, 190), (50, 230, 255), (255, 190, 70))
