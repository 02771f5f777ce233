import io
import os
import signal

import pytest
from rich.console import Console

from trainer.progress import QUIET_LINES, Stop, TrainingBar


@pytest.mark.parametrize(("steps", "lines"), [(500, QUIET_LINES), (7, 7), (1, 1)])
def test_a_log_file_gets_few_lines(steps: int, lines: int) -> None:
    log = io.StringIO()
    with TrainingBar(Console(file=log), "mine", steps, 0) as bar:
        for step in range(1, steps + 1):
            bar.step(step, 1 / step)
    printed = log.getvalue().splitlines()
    assert len(printed) == lines
    assert printed[-1] == f"step {steps} of {steps}, loss {1 / steps:.4f}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: signal.Signals) -> None:
    heard = []
    before = signal.signal(number, lambda *_: heard.append("end"))
    try:
        stop = Stop()
        with stop.on_signals():
            assert not stop.asked
            os.kill(os.getpid(), number)
            assert stop.asked
            assert heard == []
            os.kill(os.getpid(), number)
            assert heard == ["end"]
        os.kill(os.getpid(), number)
        assert heard == ["end", "end"]  # handlers are as they were
    finally:
        signal.signal(number, before)
