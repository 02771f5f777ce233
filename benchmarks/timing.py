"""Timing that a busy machine cannot bend much: turns taken in rounds, medians of the ratios.

A thread pool spins for some milliseconds after its work, in the way of whoever comes next: with
turns of one step each, PyTorch took six times as long as alone. So a turn has a rest before it,
and several runs in a row, of which the first is not counted.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Ratio:
    """One line of the report. `limit`: what is to be reached, if anything."""

    what: str
    value: float  # in `unit`
    against: str
    against_value: float
    ratio: float
    limit: float | None = None
    unit: Literal["s", "B"] = "s"

    @property
    def reached(self) -> bool:
        """Whether the ratio is within the limit."""
        return self.limit is None or self.ratio <= self.limit


REST = 0.05  # seconds


def rounds(
    contestants: Mapping[str, Callable[[], object]], count: int, runs: int = 5
) -> dict[str, list[float]]:
    """Median seconds of a run, of each contestant in each of `count` rounds.

    Args:
        contestants: name -> what is timed; in a round all take one turn.
        count: of rounds.
        runs: counted ones in a turn; one more goes before them. 1: the only one, for what starts
            a process anyway.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(count):
        for name, run in contestants.items():
            time.sleep(REST)
            seconds = [_seconds(run) for _ in range(runs + 1 if runs > 1 else 1)]
            taken[name].append(statistics.median(seconds[1:] or seconds))
    return taken


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratio(
    taken: Mapping[str, list[float]], what: str, against: str, limit: float | None = None
) -> Ratio:
    """Median over the rounds of `what` / `against`, and each one's median seconds."""
    pairs = zip(taken[what], taken[against], strict=True)
    return Ratio(
        what,
        statistics.median(taken[what]),
        against,
        statistics.median(taken[against]),
        statistics.median(a / b for a, b in pairs),
        limit,
    )
