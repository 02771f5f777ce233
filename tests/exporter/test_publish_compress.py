import gzip
from pathlib import Path

import brotli
import numpy as np
import pytest

from exporter.publish_compress import WORTH, compressed

TEXT = b"a castle, clouds, green hills, day\n" * 500
NOISE = np.random.default_rng(0).bytes(5 << 20)


def copies(path: Path, data: bytes, name: str = "manifest.json") -> dict[str, bytes]:
    path.write_bytes(data)
    return compressed(path, name, quality=5)


def test_copies_are_the_file_and_the_same_each_time(tmp_path: Path) -> None:
    found = copies(tmp_path / "file", TEXT)
    assert brotli.decompress(found[".br"]) == gzip.decompress(found[".gz"]) == TEXT
    assert all(len(copy) <= WORTH * len(TEXT) for copy in found.values())
    assert copies(tmp_path / "other", TEXT) == found


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"", "empty.json"), (NOISE[:4096], "weights.bin"), (NOISE, "large.bin"), (TEXT, "a.webp")],
)
def test_what_saves_nothing_has_none(data: bytes, name: str, tmp_path: Path) -> None:
    assert copies(tmp_path / "file", data, name) == {}


def test_a_large_file_is_judged_by_all_of_its_parts(tmp_path: Path) -> None:
    mixed = NOISE[: 1 << 20] + TEXT * 300 + NOISE[: 1 << 20]
    assert copies(tmp_path / "file", mixed, "mixed.bin").keys() == {".br", ".gz"}
