"""What a further style costs: a pack, a merged variant, or everything once more."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.timing import Ratio, ratio, rounds

ROUNDS = 3


def style_exports(base: Path, lora: Path, out: Path) -> Iterator[Ratio]:
    """Whole processes, as `make export` starts them.

    Args:
        base: the pipeline.
        lora: the style's file.
        out: a bundle of the base.
    """

    def exporting(*options: str) -> Callable[[], object]:
        command = [sys.executable, "-m", "exporter", "export", "--lora", str(lora)]
        command += ["--base", str(base), "--out", str(out), *options]
        return lambda: subprocess.run(command, check=True, capture_output=True)

    contestants = {
        "external export": exporting(),
        "merged export": exporting("--mode", "merged"),
        "full re-export": exporting("--fresh"),
    }
    taken = rounds(contestants, ROUNDS, runs=1)
    yield ratio(taken, "external export", "full re-export")
    yield ratio(taken, "merged export", "full re-export")
    yield ratio(taken, "external export", "merged export")
