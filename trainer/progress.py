"""What the person in front of the training sees, and how they stop it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from runtime.commands import progress_bar

QUIET_LINES = 10
"""Lines a training prints where no bar can be drawn (a log file)."""


class TrainingBar:
    """A progress bar with loss, rate and remaining time; plain lines in a log file."""

    def __init__(self, console: Console, title: str, steps: int, done: int) -> None:
        self._console = console
        self._title = title
        self._steps = steps
        self._bar = progress_bar()
        self._bar.disable = not console.is_terminal
        self._task = self._bar.add_task(title, total=steps, completed=done)

    def __enter__(self) -> "TrainingBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, done: int, loss: float) -> None:
        """Shows that `done` steps are behind us, with the running mean of the loss."""
        self._bar.update(self._task, completed=done, description=f"{self._title}, loss {loss:.4f}")
        if not self._console.is_terminal and done % max(1, self._steps // QUIET_LINES) == 0:
            self._console.print(f"step {done} of {self._steps}, loss {loss:.4f}")


class Stop:
    """Whether somebody asked the training to end after the current step."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def on_signals(self) -> Iterator["Stop"]:
        """Takes Ctrl-C and SIGTERM as a request; a second one ends the program at once."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def ask(_number: int, _frame: FrameType | None) -> None:
            self.asked = True
            for number, handler in before.items():
                signal.signal(number, handler)

        for number in before:
            signal.signal(number, ask)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
