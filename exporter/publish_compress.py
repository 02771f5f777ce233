"""Precompressed copies of a file, kept where they are worth having."""

import zlib
from pathlib import Path

import brotli

from runtime.headers import media_type

WORTH = 0.9
"""A copy is kept when it has at most this share of the bytes. fp16 weights come to 0.92."""
ENCODINGS = {".br": "br", ".gz": "gzip"}  # suffix -> Content-Encoding

_SAMPLED = 4 << 20  # larger files are judged by a sample: weights have gigabytes
_SAMPLE = 256 << 10
_PACKED = ("image/png", "image/jpeg", "image/webp", "font/woff2")


def compressed(path: Path, name: str, quality: int) -> dict[str, bytes]:
    """The copies of a file that are worth having, by suffix.

    Args:
        path: the file.
        name: what it is called on the site, for its media type.
        quality: Brotli's, 0 to 11.
    """
    if media_type(name) in _PACKED or not _promising(path):
        return {}
    data = path.read_bytes()
    copies = {".br": brotli.compress(data, quality=quality, lgwin=24), ".gz": _gzip(data)}
    return {suffix: copy for suffix, copy in copies.items() if 0 < len(copy) <= WORTH * len(data)}


def _promising(path: Path) -> bool:
    """Whether pieces from begin, middle and end of a large file come near `WORTH`."""
    size = path.stat().st_size
    if size <= _SAMPLED:
        return True
    before, after = 0, 0
    with path.open("rb") as file:
        for offset in (0, size // 2, size - _SAMPLE):
            file.seek(offset)
            piece = file.read(_SAMPLE)
            before, after = before + len(piece), after + len(zlib.compress(piece))
    return after <= (WORTH + 0.01) * before


def _gzip(data: bytes) -> bytes:
    # No name and no time in it: the same bytes give the same copy.
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()
