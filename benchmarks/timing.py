"""Timing that a busy machine cannot bend much: turns taken in rounds, medians of the ratios."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """One line of the report. `limit`: what is to be reached, if anything."""

    what: str
    seconds: float
    against: str
    against_seconds: float
    ratio: float
    limit: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the ratio is within the limit."""
        return self.limit is None or self.ratio <= self.limit


def rounds(
    contestants: Mapping[str, Callable[[], object]], count: int, warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds of each contestant in each of `count` rounds; in a round all take one turn."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(warm_up + count):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if number >= warm_up:
                taken[name].append(time.perf_counter() - start)
    return taken


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
