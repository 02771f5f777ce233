"""`make bench`: prints ratios measured in one run; fails when a promised one is missed."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.exports import style_exports
from benchmarks.steps import browser_steps, native_steps
from benchmarks.timing import Ratio
from exporter.export import StyleRequest, export
from exporter.progress import showing
from runtime.bundle import Bundle

BASE = Path("models/base")
LORA = Path("models/loras/miyazaki.safetensors")
MERGED = "miyazaki-merged"


def measure(folder: Path) -> Iterator[Ratio]:
    """Every benchmark, on the embedded model exported into `folder`."""
    with showing() as step:
        for mode in ("external", "merged"):
            export(BASE, folder, step, StyleRequest(LORA, mode))
    bundle = Bundle.open(folder)
    yield from native_steps(BASE, bundle, MERGED)
    yield from browser_steps(BASE, bundle)
    yield from style_exports(BASE, LORA, folder)


def main() -> int:
    """0 when every promised ratio is reached."""
    with tempfile.TemporaryDirectory() as folder:
        ratios = list(measure(Path(folder)))
    table = Table("measured", "ms", "against", "ms", "ratio", "to reach")
    for item in ratios:
        mark = (
            "" if item.limit is None else f"<= {item.limit:g}{'' if item.reached else '  MISSED'}"
        )
        table.add_row(
            item.what,
            f"{item.seconds * 1000:.1f}",
            item.against,
            f"{item.against_seconds * 1000:.1f}",
            f"{item.ratio:.2f}",
            mark,
        )
    Console(width=140).print(table)
    return 0 if all(item.reached for item in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
