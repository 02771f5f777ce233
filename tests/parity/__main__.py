"""`make parity`: measures every promise and prints promised and measured values side by side."""

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from runtime.commands import progress_bar
from tests.parity.comparisons import COMPARISONS
from tests.parity.promises import NOTE, PROMISES, Measured
from tests.parity.world import World


def main() -> int:
    """0 when every promise is kept."""
    groups: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, progress_bar() as bars:
        world = World(Path(folder))
        task = bars.add_task("comparing", total=len(COMPARISONS))
        for name, compare in COMPARISONS.items():
            bars.update(task, description=f"{name:<20}")
            for item in compare(world):
                groups[item.promise, item.runtime].append(item)
            bars.advance(task)
    table = Table("promise", "runtime", "compared", "worst", "promised", "worst case", "")
    broken = 0
    for (key, runtime), items in groups.items():
        promise = PROMISES[key]
        worst = (min if promise.at_least else max)(items, key=lambda item: item.value)
        broken += not worst.kept
        table.add_row(
            promise.title,
            runtime,
            str(len(items)),
            f"{worst.value:.3g}",
            f"{'>=' if promise.at_least else '<='} {promise.limit:g} {promise.unit}",
            worst.what,
            "kept" if worst.kept else "BROKEN",
        )
    console = Console(width=180)
    console.print(table)
    console.print(NOTE)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
