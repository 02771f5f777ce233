"""A bundle under construction: everything is written aside and appears with the manifest.

The staging folder lies inside `OUT`, on the same filesystem, and is a complete bundle of its own
(files that stay are hard-linked), so that the parity gate opens exactly what will be published.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from exporter.interrupts import in_place, uninterrupted
from runtime.errors import BadFile, BrushletError
from runtime.files import hashed_name, link_or_copy, write_whole
from runtime.lora_grammar import lora_grammar
from runtime.manifest import MANIFEST_NAME, FileRef, Manifest, file_refs
from runtime.writing import disk_reason

# Names that `Stage.add` and `Stage.adopt` give. Only such files are ever pruned.
_OURS = re.compile(
    r"(unet|text_encoder|vae_encoder|vae_decoder|weights|slots|lora|sampler|golden|tokenizer|pack"
    r"|thumb|example)[A-Za-z0-9_.-]*-[0-9a-f]{16}\.[a-z]+"
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

    def adopt(self, path: Path, stem: str, digest: str) -> FileRef:
        """Renames a file written inside the staging folder to `stem-<hash>` plus its suffix.

        `digest`: its SHA-256, which whoever wrote it had at hand.
        """
        url = hashed_name(stem, path.suffix, digest)
        ref = FileRef(url=url, bytes=path.stat().st_size, sha256=digest)
        path.replace(self.folder / url)
        return ref

    def keep(self, ref: FileRef) -> None:
        """Takes over a file of the published bundle, unless it is staged already.

        Raises:
            BadFile: it is gone or has another size.
        """
        source, target = self.out / ref.url, self.folder / ref.url
        if target.exists():
            return
        if not source.is_file() or source.stat().st_size != ref.bytes:
            raise BadFile(
                "is missing or has another size than the manifest says",
                where=str(source),
                todo="export the base again with --fresh",
            )
        target.parent.mkdir(exist_ok=True)
        link_or_copy(source, target)

    def publish(self, manifest: Manifest) -> None:
        """Moves the staged files into place, the manifest last, then prunes what it dropped.

        Until the manifest is replaced, in one rename, readers see the old bundle, whole; on an
        error before it, what was moved goes again.

        Raises:
            BadFile: the manifest, once written, could not be read again.
        """
        _check_readable(manifest)
        wanted = {ref.url for ref in file_refs(manifest)}
        for url in sorted(wanted):
            _sync(self.folder / url)
        with uninterrupted():
            self._move(wanted, manifest)
            in_place(self.out)

    def _move(self, wanted: set[str], manifest: Manifest) -> None:
        folders = [self.out / name for name in _FOLDERS]
        new = [folder for folder in folders if not folder.exists()]
        moved: list[Path] = []
        try:
            for url in sorted(wanted):
                source, target = self.folder / url, self.out / url
                there = target.exists()
                if there and target.samefile(source):
                    continue
                target.parent.mkdir(exist_ok=True)
                source.replace(target)
                if not there:
                    moved.append(target)
            write_whole(self.out / MANIFEST_NAME, dump(manifest))
        except BaseException:
            for path in moved:
                path.unlink()
            for folder in new:
                if folder.exists():
                    folder.rmdir()
            raise
        for folder in folders:
            for path in folder.glob("*"):
                url = path.relative_to(self.out).as_posix()
                if _OURS.fullmatch(path.name) and url not in wanted:
                    path.unlink()


@contextmanager
def staging(out: Path) -> Iterator[Stage]:
    """A staging folder inside `out`, removed at the end whatever happens; so is an `out` that was
    not there before and has nothing in it then.

    Raises:
        BrushletError: another export is writing into `out`, or the disk is full or read-only.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    stage: Path | None = None
    handle = None
    with told(out):
        try:
            try:
                out.mkdir(parents=True, exist_ok=True)
                handle = os.open(out, os.O_RDONLY)
            except OSError as error:
                raise _cannot_write(out, error, str(error.strerror), _ANOTHER) from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise in_use(out) from None
            for leftover in out.glob(".stage-*"):  # of an export that was killed
                shutil.rmtree(leftover)
            with uninterrupted():
                stage = Path(tempfile.mkdtemp(prefix=".stage-", dir=out))
            yield Stage(out, stage)
        finally:
            with uninterrupted():
                if stage:
                    shutil.rmtree(stage)
                remove_empty(made)
                if handle is not None:
                    os.close(handle)  # and with it the lock


def in_use(out: Path) -> BrushletError:
    """What a second export into the same place is told."""
    todo = "wait until it has ended"
    return BrushletError("another export is writing here", where=str(out), todo=todo)


def remove_empty(folders: Sequence[Path]) -> None:
    """Removes folders, the innermost first, up to one that holds something."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


_told: list[Path] = []  # what is being written, the outermost first


_ANOTHER = "free some space or choose another folder with --out; what was there still works"


@contextmanager
def told(out: Path, todo: str = _ANOTHER) -> Iterator[None]:
    """Makes a full disk and missing permissions, while `out` is written, a BrushletError.

    Of blocks inside one another the outermost does, which is what the person asked for.
    """
    _told.append(out)
    try:
        yield
    except Exception as error:
        if len(_told) == 1 and (reason := disk_reason(error)):
            raise _cannot_write(out, error, reason, todo) from error
        raise
    finally:
        _told.pop()


def read_manifest(out: Path) -> Manifest | None:
    """The manifest of the bundle in `out`, or None where there is none that this version reads."""
    try:
        return Manifest.model_validate_json((out / MANIFEST_NAME).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _check_readable(manifest: Manifest) -> None:
    """`model_copy` checks nothing, and the next export would take a damaged manifest for none."""
    try:
        Manifest.model_validate_json(dump(manifest))
    except ValidationError as error:
        first = error.errors()[0]
        what = f"field {'.'.join(map(str, first['loc']))}: {first['msg']}"
        todo = "give another value and export again; what was there is as it was"
        raise BadFile(what, where=MANIFEST_NAME, todo=todo) from None


def dump(record: BaseModel, exclude_defaults: bool = False) -> bytes:
    """A record as compact JSON."""
    return record.model_dump_json(exclude_defaults=exclude_defaults).encode()


def grammar_file(stage: Stage) -> FileRef:
    """Stages the grammar by which a browser reads LoRA files."""
    return stage.add("lora-grammar", ".json", dump(lora_grammar()))


def _cannot_write(out: Path, error: Exception, reason: str, todo: str) -> BrushletError:
    name = getattr(error, "filename", None)
    whole = out.resolve()
    place = Path(name).resolve() if isinstance(name, str) else whole
    # Other formats than a bundle are built beside `out`, in `.<name>.new-...`.
    ours = any(
        folder == whole
        or (folder.parent == whole.parent and folder.name.startswith(f".{whole.name}."))
        for folder in (place, *place.parents)
    )
    if not ours:  # a file of the base, or of /tmp
        return BrushletError(
            f"cannot be read or written ({reason})",
            where=str(place),
            todo="see to its permissions and to free space there; what was exported is as it was",
        )
    return BrushletError(f"cannot be written ({reason})", where=str(out), todo=todo)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
