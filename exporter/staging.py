"""A bundle under construction: everything is written aside and appears with the manifest.

The staging folder lies inside `OUT`, on the same filesystem, and is a complete bundle of its own
(files that stay are hard-linked), so that the parity gate opens exactly what will be published.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from runtime.errors import BadFile, BrushletError
from runtime.files import hashed_name, sha256_file, write_whole
from runtime.manifest import MANIFEST_NAME, FileRef, Manifest, file_refs

# Names that `Stage.add` and `Stage.adopt` give. Only such files are ever pruned.
_OURS = re.compile(
    r"(unet|text_encoder|vae_encoder|vae_decoder|weights|slots|sampler|golden|tokenizer|pack|thumb)"
    r"[A-Za-z0-9_.-]*-[0-9a-f]{16}\.[a-z]+"
)
_FOLDERS = ("", "styles")  # where a bundle keeps files, relative to its manifest


class Stage:
    """The staging folder of one export. Get one from `staging`."""

    def __init__(self, out: Path, folder: Path) -> None:
        self.out = out
        self.folder = folder

    def add(self, stem: str, suffix: str, data: bytes) -> FileRef:
        """Stages `data` as `stem-<hash>.suffix`; a `/` in the stem names a subfolder."""
        digest = hashlib.sha256(data).hexdigest()
        ref = FileRef(url=hashed_name(stem, suffix, digest), bytes=len(data), sha256=digest)
        path = self.folder / ref.url
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return ref

    def adopt(self, path: Path, stem: str) -> FileRef:
        """Renames a file written inside the staging folder to `stem-<hash>` plus its suffix."""
        digest = sha256_file(path)
        url = hashed_name(stem, path.suffix, digest)
        ref = FileRef(url=url, bytes=path.stat().st_size, sha256=digest)
        path.replace(self.folder / url)
        return ref

    def keep(self, ref: FileRef) -> None:
        """Takes over a file of the published bundle.

        Raises:
            BadFile: it is gone or has another size.
        """
        source, target = self.out / ref.url, self.folder / ref.url
        if not source.is_file() or source.stat().st_size != ref.bytes:
            raise BadFile(
                "is missing or has another size than the manifest says",
                where=str(source),
                todo="export the base again with --fresh",
            )
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            _link(source, target)

    def publish(self, manifest: Manifest) -> None:
        """Moves the staged files into place, the manifest last, then prunes what it dropped.

        Until the manifest is replaced, in one rename, readers see the old bundle, whole.
        """
        wanted = {ref.url for ref in file_refs(manifest)}
        for url in sorted(wanted):
            source, target = self.folder / url, self.out / url
            if target.exists() and target.samefile(source):
                continue
            _sync(source)
            target.parent.mkdir(exist_ok=True)
            source.replace(target)
        write_whole(self.out / MANIFEST_NAME, dump(manifest))
        for folder in _FOLDERS:
            for path in (self.out / folder).glob("*"):
                url = path.relative_to(self.out).as_posix()
                if _OURS.fullmatch(path.name) and url not in wanted:
                    path.unlink()


@contextmanager
def staging(out: Path) -> Iterator[Stage]:
    """A staging folder inside `out`, removed at the end whatever happens.

    Raises:
        BrushletError: another export is writing into `out`, or the disk is full or read-only.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise _cannot_write(out, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BrushletError(
                "another export is writing here", where=str(out), todo="wait until it has ended"
            ) from None
        for leftover in out.glob(".stage-*"):  # of an export that was killed
            shutil.rmtree(leftover)
        folder = Path(tempfile.mkdtemp(prefix=".stage-", dir=out))
        try:
            yield Stage(out, folder)
        finally:
            shutil.rmtree(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise _cannot_write(out, error) from error
        raise
    finally:
        os.close(handle)  # and with it the lock


def read_manifest(out: Path) -> Manifest | None:
    """The manifest of the bundle in `out`, or None where there is none that this version reads."""
    try:
        return Manifest.model_validate_json((out / MANIFEST_NAME).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def dump(record: BaseModel) -> bytes:
    """A record as compact JSON."""
    return record.model_dump_json().encode()


def _cannot_write(out: Path, error: OSError) -> BrushletError:
    return BrushletError(
        f"cannot be written ({error.strerror})",
        where=str(out),
        todo="free some space or choose another folder with --out; the bundle is as it was",
    )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a filesystem without hard links
        shutil.copyfile(source, target)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
