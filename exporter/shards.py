"""Weights as files of raw bytes, shared by all graphs that use them."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from exporter.staging import Stage
from runtime.manifest import FileRef
from runtime.tensors import Array

SHARD_BYTES = 64 << 20  # large enough for few requests, small enough to load one by one
ALIGNMENT = 64  # bytes; a cache line, so that a kernel may use the mapped bytes as they lie
SMALL = 1 << 10  # bytes; a smaller initializer stays inside its graph
Key = tuple[str, str]  # SHA-256 of an array's bytes, dtype


@dataclass(frozen=True)
class Place:
    """Where an array's bytes lie."""

    shard: str  # file name, and key in Manifest.shards
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def length(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


class Shards:
    """Writes shards into a stage; an array that came before is not stored again."""

    def __init__(self, stage: Stage, limit: int = SHARD_BYTES) -> None:
        self.stage = stage
        self.limit = limit
        self.files: dict[str, FileRef] = {}
        self._known: dict[Key, Place] = {}

    def write(self, arrays: Iterable[tuple[str, Array]]) -> dict[str, Place]:
        """Stores named arrays in shards that hold nothing else. Returns name -> place."""
        places: dict[str, Place] = {}
        shard = _Shard(self.stage.folder)
        try:
            for name, array in arrays:  # which may be computed here, and fail
                data = np.ascontiguousarray(array).tobytes()
                key = hashlib.sha256(data).hexdigest(), array.dtype.str
                place = self._known.get(key) or shard.places.get(key)
                if place is None:
                    if shard.size and shard.size + len(data) > self.limit:
                        self._close(shard, places)
                        shard = _Shard(self.stage.folder)
                    place = shard.append(key, data, array)
                places[name] = replace(place, shape=array.shape)
            self._close(shard, places)
        finally:
            shard.file.close()
        return places

    def _close(self, shard: "_Shard", places: dict[str, Place]) -> None:
        """Gives a written shard its name, which only its whole content tells."""
        path, digest = shard.close()
        if not shard.size:
            path.unlink()
            return
        ref = self.stage.adopt(path, "weights", digest)
        self.files[ref.url] = ref
        for key, place in shard.places.items():
            self._known[key] = replace(place, shard=ref.url)
        for name, place in places.items():
            if not place.shard:
                places[name] = replace(place, shard=ref.url)


class _Shard:
    """A shard file being written. Its places have no shard name yet."""

    def __init__(self, folder: Path) -> None:
        handle, name = tempfile.mkstemp(dir=folder, suffix=".bin")
        self.path = Path(name)
        self.file = os.fdopen(handle, "wb")
        self.size = 0
        self.hash = hashlib.sha256()
        self.places: dict[Key, Place] = {}

    def append(self, key: Key, data: bytes, array: Array) -> Place:
        padding = -self.size % ALIGNMENT
        for part in (bytes(padding), data):
            self.file.write(part)
            self.hash.update(part)
        self.places[key] = Place("", self.size + padding, array.shape, array.dtype)
        self.size += padding + len(data)
        return self.places[key]

    def close(self) -> tuple[Path, str]:
        self.file.close()
        self.path.chmod(0o644)  # mkstemp gives 0600, which a web server could not read
        return self.path, self.hash.hexdigest()
