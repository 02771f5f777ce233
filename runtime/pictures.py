"""Pictures of other people as what a VAE encodes."""

import numpy as np
from PIL import Image, ImageOps

from runtime.tensors import Float32


def on_white(image: Image.Image) -> Image.Image:
    """In RGB, its transparency laid on white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")


def fitted(image: Image.Image, size: tuple[int, int]) -> Float32:
    """`[1, 3, H, W]` in -1..1: scaled to cover (width, height), what juts out cut off evenly."""
    pixels = np.asarray(ImageOps.fit(on_white(image), size, Image.Resampling.LANCZOS), np.float32)
    return 2 * (pixels.transpose(2, 0, 1)[None] / np.float32(255)) - 1
