"""A folder that an export writes as a whole: it appears complete, or stays what it was.

Unlike a bundle, which a server reads while it changes, such a folder has files of fixed names. So
it is built beside `OUT` and takes its place by a rename. A receipt inside says what it is made of,
and nothing but an earlier export of the same kind is ever replaced.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from exporter.interrupts import in_place, uninterrupted
from exporter.locks import locked
from exporter.staging import in_use, remove_empty, told
from runtime.errors import BrushletError
from runtime.files import sha256_file
from runtime.manifest import FileRef, Measurement, Sha256, Strict

RECEIPT = "brushlet-export.json"
Format = Literal["optimum", "adapter"]


class Receipt(Strict):
    """What an export wrote, in `brushlet-export.json`."""

    format: Format
    exporter: str
    base_name: str
    base_hash: Sha256
    files: list[FileRef]
    parity: list[Measurement]


def read_receipt(out: Path) -> Receipt | None:
    """The receipt in `out`, or None where there is none that this version reads."""
    try:
        return Receipt.model_validate_json((out / RECEIPT).read_bytes())
    except (OSError, ValidationError):
        return None


@contextmanager
def replacing_folder(out: Path, kind: Format) -> Iterator[Path]:
    """Yields an empty folder that becomes `out` when the block succeeds.

    Between two renames, and if the program is killed there, the old folder lies beside `out` as
    `.<name>.old-*`; the next export brings it back.

    Raises:
        BrushletError: `out` holds something else than an earlier export of this kind, cannot be
            written, or another export is writing it.
    """
    given, out = out, out.resolve()
    made = [folder for folder in out.parents if not folder.exists()]
    new: Path | None = None
    with told(given):
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with _locked(out, given):
                _clear_up(out)
                refuse_foreign(out, kind)
                try:
                    with uninterrupted():
                        prefix = f".{out.name}.new-"
                        new = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
                    yield new
                    refuse_foreign(out, kind)  # what came while we worked
                    new.chmod(0o755)  # mkdtemp gives 0700
                    with uninterrupted():
                        _swap(new, out)
                        in_place(given)
                finally:
                    with uninterrupted():
                        if new:
                            shutil.rmtree(new, ignore_errors=True)
        finally:
            with uninterrupted():
                remove_empty(made)


@contextmanager
def _locked(out: Path, given: Path) -> Iterator[None]:
    """Holds `.<name>.lock` beside `out`, which is itself replaced and so cannot be held.

    Raises:
        BrushletError: another export holds it.
    """
    try:
        with locked(out.with_name(f".{out.name}.lock"), wait=False):
            yield
    except BlockingIOError:
        raise in_use(given) from None


def listing(folder: Path) -> list[FileRef]:
    """Every file below `folder` but the receipt."""
    return [
        FileRef(
            url=path.relative_to(folder).as_posix(),
            bytes=path.stat().st_size,
            sha256=sha256_file(path),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / RECEIPT
    ]


def refuse_foreign(out: Path, kind: Format) -> None:
    """BrushletError when `out` holds something else than an earlier export of this kind."""
    if not out.exists():
        return
    todo = "choose another folder with OUT= (--out), or move away what is there"
    if not out.is_dir():
        raise BrushletError("is no folder", where=str(out), todo=todo)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    receipt = read_receipt(out)
    ours = {ref.url for ref in receipt.files} if receipt and receipt.format == kind else set()
    if strange := sorted(names - ours - ({RECEIPT} if ours else set())):
        shown = ", ".join(strange[:3]) + (", ..." if len(strange) > 3 else "")
        what = f"holds files that no export of FORMAT={kind} wrote: {shown}"
        raise BrushletError(what, where=str(out), todo=todo)


def _swap(new: Path, out: Path) -> None:
    if not out.exists():
        new.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    try:
        out.rename(old)
        new.rename(out)
    finally:
        if not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def _clear_up(out: Path) -> None:
    """Removes what killed exports left, and brings back a folder that one had put aside.

    None is running: its lock is ours.
    """
    for old in out.parent.glob(f".{out.name}.old-*"):
        if out.exists():
            shutil.rmtree(old)
        else:
            old.rename(out)
    for new in out.parent.glob(f".{out.name}.new-*"):
        shutil.rmtree(new)
