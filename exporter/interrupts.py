"""Ctrl-C and SIGTERM while an export runs: every `finally` is reached, and one line tells the rest.

A signal's exception may come between any two instructions. What must not be torn apart there
(moving files into place, clearing up) is `uninterrupted`; the exception then comes behind it.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from runtime.errors import Cancelled

_SIGNALS = signal.SIGINT, signal.SIGTERM


class Interrupted(BaseException):
    """A signal. No KeyboardInterrupt, for which typer has an ending of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class _State:
    depth: int = 0  # of `uninterrupted` blocks
    waiting: int | None = None  # a signal that came inside one
    written: set[Path] = field(default_factory=set)  # what has been put into place


_state = _State()


@contextmanager
def interruptible(out: Path, otherwise: str = "is as it was") -> Iterator[None]:
    """Ends the block on Ctrl-C and SIGTERM, with one line and the exit code that shells expect.

    Args:
        out: what the block writes.
        otherwise: what is true of it when the block has not put it into place.

    Raises:
        Cancelled: there was such a signal.
    """
    _state.waiting = None
    _state.written.clear()
    before = {number: signal.signal(number, _handle) for number in _SIGNALS}
    try:
        yield
    except Interrupted as stop:
        state = "holds the new export" if out.resolve() in _state.written else otherwise
        cancelled = Cancelled(f"interrupted; {out} {state}")
        cancelled.exit_code = 128 + stop.number
        raise cancelled from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A signal that comes inside takes effect at the end of the block."""
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
    if not _state.depth and _state.waiting is not None:
        number, _state.waiting = _state.waiting, None
        raise Interrupted(number)


def in_place(out: Path) -> None:
    """Says that an interrupt from here on finds `out` written."""
    _state.written.add(out.resolve())


def _handle(number: int, _frame: FrameType | None) -> None:
    if _state.depth:
        _state.waiting = number
    else:
        raise Interrupted(number)
