"""Full disks, missing permissions and wrong places, told in one line that names the file."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import BrushletError

# What a disk can do to any program: it is full, over quota, read-only, or somebody else's.
DISK_ERRORS = errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM


@contextmanager
def writing(path: Path, todo: str) -> Iterator[None]:
    """Makes it a BrushletError that `path`, which the block writes, cannot be written.

    Args:
        path: what the person asked for, not the temporary file beside it.
        todo: what to do about it, and what is left.
    """
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        what = f"cannot be written: {error.filename} is a file where a folder is needed"
        raise BrushletError(what, where=str(path), todo="choose another place") from error
    except Exception as error:
        if reason := _reason(error):
            what = f"cannot be written ({reason})"
            raise BrushletError(what, where=str(path), todo=todo) from error
        raise


def require_writable(path: Path, todo: str) -> None:
    """Makes the folder of `path`; BrushletError when no file can be written there.

    Before long work, which would be lost.
    """
    with writing(path, todo):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def disk_reason(error: Exception) -> str | None:
    """Which of `DISK_ERRORS` an error tells of, in words; None where it is none of them."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return error.strerror
    # What is written in Rust and C++ (safetensors, onnxruntime) has errors of its own.
    found = (os.strerror(number) for number in DISK_ERRORS if os.strerror(number) in str(error))
    return None if isinstance(error, BrushletError) else next(found, None)


def _reason(error: Exception) -> str | None:
    """As `disk_reason`, and any other that the system has."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else disk_reason(error)
