"""Shapes cover what their measures say at any size, and light stays within its bounds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from models.scenes.canvas import Canvas, ink, noise1d, rgb

WHITE = (255.0, 255.0, 255.0)


@pytest.mark.parametrize("size", [64, 128, 200])
def test_shapes_cover_their_area(size: int) -> None:
    canvas = Canvas(size)
    sprite = canvas.sprite()
    sprite.ellipse(WHITE, 61, 64, 30, 12)
    half = 0.5 / sprite.scale
    line = 40 + 0.5 * canvas.x[0]
    areas = {
        "disc": (canvas.disc(60.3, 64.7, 20), np.pi * 400),
        "below": (canvas.below(line), 128 * (128 - 40) - 0.25 * 128**2),
        # Pillow draws to the far side of an ellipse's last pixel.
        "ellipse": (canvas.lay(sprite)[1], np.pi * (30 + half) * (12 + half)),
    }
    for name, (cover, area) in areas.items():
        assert cover.shape == (size, size)
        assert 0 <= cover.min() < cover.max() <= 1
        assert cover.sum() * canvas.pixel**2 == pytest.approx(area, rel=0.01), name


def test_edges_of_a_sprite_are_no_darker_than_its_middle() -> None:
    canvas = Canvas(64)
    sprite = canvas.sprite()
    sprite.polygon(WHITE, (10, 100), (110, 90), (60, 13))
    colors, alpha = canvas.lay(sprite)
    assert ((alpha > 0) & (alpha < 1)).any()
    np.testing.assert_allclose(colors, alpha[..., None].repeat(3, -1), atol=1e-6)


def test_light_never_burns_out() -> None:
    canvas = Canvas(16)
    before = canvas.pixels.copy()
    for _ in range(6):
        canvas.glow(rgb((255, 128, 0)), np.full((16, 16), 0.9, np.float32))
        assert (canvas.pixels >= before).all()
        before = canvas.pixels.copy()
    assert canvas.pixels.max() <= 1
    assert canvas.pixels[..., 2].max() == 0
    canvas.paint(rgb((255, 128, 0)), np.ones((16, 16), np.float32))
    np.testing.assert_allclose(canvas.pixels[3, 4] * 255, (255, 128, 0), rtol=1e-5)
    assert ink((-3, 127.6, 300)) == (0, 128, 255, 255)


def test_noise_is_the_same_at_every_size() -> None:
    def noise(size: int) -> np.ndarray:
        return Canvas(size).noise(np.random.default_rng(3), 16, 8)

    for small, large in pairwise((64, 128, 256)):
        half = Image.fromarray(noise(large)).resize((small, small), Image.Resampling.BOX)
        np.testing.assert_allclose(np.asarray(half), noise(small), atol=0.03)  # 0.018 at 64
    assert 0.8 < np.abs(noise(128)).max() < 1.3
    assert 0.5 < np.abs(noise1d(np.random.default_rng(3), Canvas(128).x[0], 20)).max() < 1.1
