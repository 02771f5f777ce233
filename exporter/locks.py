"""A file that one process holds at a time, and that is gone when nobody does."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.interrupts import uninterrupted


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[None]:
    """Holds the lock at `path`, which is made for it and removed at the end.

    Raises:
        BlockingIOError: somebody else holds it, and `wait` is not wanted.
    """
    handle: int | None = None
    try:
        while handle is None:
            with uninterrupted():
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BaseException:
                os.close(handle)
                handle = None
                raise
            if not _same(handle, path):  # its holder has removed it in between
                os.close(handle)
                handle = None
        yield
    finally:
        with uninterrupted():
            if handle is not None:
                path.unlink(missing_ok=True)
                os.close(handle)


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
