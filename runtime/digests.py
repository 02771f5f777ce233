"""The identity of a base model: a hash over its files, without loading them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from runtime.errors import BadFile
from runtime.files import cache_folder, sha256_file, write_whole
from runtime.manifest import FileRef

_MODEL_FILES = {".json", ".txt", ".safetensors", ".model"}
_INDEX = "model_index.json"
# Components that take no part in drawing; many people delete their folders.
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")


def model_files(base: Path) -> list[Path]:
    """The files of a pipeline in the diffusers layout that shape its pictures, sorted by path.

    Raises:
        BadFile: there is no `model_index.json`, or a component's folder is missing.
    """
    todo = "give a folder in the diffusers layout, as `save_pretrained` writes it"
    try:
        index = json.loads((base / _INDEX).read_bytes())
    except (OSError, ValueError):
        raise BadFile(f"has no readable {_INDEX}", where=str(base), todo=todo) from None
    components = [
        name
        for name, kind in index.items()
        if isinstance(kind, list) and kind[0] is not None and name not in UNUSED
    ]
    files = [base / _INDEX]
    for component in components:
        folder = base / component
        if not folder.is_dir():
            raise BadFile(f"has no folder {component}", where=str(base), todo=todo)
        files += [path for path in folder.iterdir() if path.suffix in _MODEL_FILES]
    return sorted(files, key=lambda path: path.relative_to(base).as_posix())


def base_hash(base: Path) -> str:
    """SHA-256 over every model file's relative path and SHA-256.

    Files hashed before are recognised by path, size and modification time, so that a second
    export of a large model does not read it again.

    Raises:
        BadFile: as `model_files`.
    """
    cache = _Cache()
    lines = [
        f"{path.relative_to(base).as_posix()} {cache.sha256(path)}\n" for path in model_files(base)
    ]
    cache.save()
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def known_sha256(path: Path) -> str:
    """SHA-256 of a file, not read again while its path, size and modification time are the same."""
    cache = _Cache()
    digest = cache.sha256(path)
    cache.save()
    return digest


def altered_files(folder: Path, refs: Iterable[FileRef]) -> list[str]:
    """Those files of a bundle in `folder` that are missing or are not what the manifest says."""
    cache = _Cache()
    altered = []
    for ref in refs:
        path = folder / ref.url
        if not path.is_file() or cache.sha256(path) != ref.sha256:
            altered.append(ref.url)
    cache.save()
    return altered


def remember(folder: Path, refs: Iterable[FileRef]) -> None:
    """Keeps the digests of files just written to `folder`, so that they need not be read again."""
    cache = _Cache()
    for ref in refs:
        cache.learn(folder / ref.url, ref.sha256)
    cache.save()


class _Cache:
    """path -> [size, mtime_ns, SHA-256] of files hashed before."""

    def __init__(self) -> None:
        self.path = cache_folder() / "digests.json"
        try:
            self.known = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            self.known = {}
        self.changed = False

    def sha256(self, path: Path) -> str:
        stat, key = path.stat(), str(path.resolve())
        known = self.known.get(key)
        if known and known[:2] == [stat.st_size, stat.st_mtime_ns]:
            return str(known[2])
        digest = sha256_file(path)
        self.learn(path, digest)
        return digest

    def learn(self, path: Path, digest: str) -> None:
        stat = path.stat()
        self.known[str(path.resolve())] = [stat.st_size, stat.st_mtime_ns, digest]
        self.changed = True

    def save(self) -> None:
        if self.changed:
            try:
                write_whole(self.path, json.dumps(self.known, indent=1).encode())
            except OSError:
                return  # a read-only home costs time, not correctness
