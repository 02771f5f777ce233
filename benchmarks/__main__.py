"""`make bench`: prints ratios measured in one run; fails when a promised one is missed."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.exports import style_exports
from benchmarks.page import page_feel
from benchmarks.pictures import pictures
from benchmarks.sd15 import measure_sd15
from benchmarks.steps import browser_steps, native_steps
from benchmarks.timing import Ratio
from exporter.export import StyleRequest, export
from exporter.progress import showing
from runtime.bundle import Bundle

BASE = Path("models/base")
LORA = Path("models/loras/miyazaki.safetensors")
OTHER = Path("models/loras/gothic.safetensors")
MERGED = "miyazaki-merged"


def measure(folder: Path) -> Iterator[Ratio]:
    """Every benchmark, on the embedded model exported into `folder`."""
    with showing() as step:
        for mode in ("external", "merged"):
            export(BASE, folder, step, StyleRequest(LORA, mode))
    bundle = Bundle.open(folder)
    yield from native_steps(BASE, bundle, MERGED)
    yield from browser_steps(BASE, bundle)
    yield from pictures(BASE, bundle)
    yield from style_exports(BASE, LORA, folder)
    yield from page_feel(BASE, OTHER, folder)


def _shown(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value / 1e6:,.0f} MB"
    return f"{value:,.1f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def main() -> int:
    """0 when every promised ratio is reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sd15",
        action="store_true",
        help="at the size of Stable Diffusion 1.5: 10 GB, half an hour",
    )
    run = measure_sd15 if parser.parse_args().sd15 else measure
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for item in run(Path(folder)):  # half an hour is long to wait for a first number
            print(f"{item.what} / {item.against}: {item.ratio:.2f}", file=sys.stderr, flush=True)
            ratios.append(item)
    table = Table("measured", "", "against", "", "ratio", "to reach")
    for item in ratios:
        mark = (
            "" if item.limit is None else f"<= {item.limit:g}{'' if item.reached else '  MISSED'}"
        )
        table.add_row(
            item.what,
            _shown(item.value, item.unit),
            item.against,
            _shown(item.against_value, item.unit),
            f"{item.ratio:.2f}",
            mark,
        )
    Console(width=140).print(table)
    return 0 if all(item.reached for item in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
