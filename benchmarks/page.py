"""How soon the page answers: a later visit's first step, a slider's and a style's next one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Ratio
from exporter.export import StyleRequest, export
from exporter.progress import showing
from tests.serving import serving

WEB = Path(__file__).parents[1] / "web"

# What the page promises, in seconds.
REVISIT = 2.0
NEXT_STEP = 0.05


def page_feel(base: Path, lora: Path, folder: Path) -> Iterator[Ratio]:
    """Each figure against what is promised of it, on the bundle in `folder` with `lora` beside."""
    with showing() as step:
        export(base, folder, step, StyleRequest(lora, "external"))
    with serving("--bundle", str(folder), "--page", str(WEB / "dist")) as (_, client):
        done = subprocess.run(
            ["node", "tests/page/feel.mjs", str(client.base_url)],
            cwd=WEB,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
    figures = json.loads(done.stdout)
    promised = {
        "revisit": ("opened again to first step", REVISIT),
        "slider": ("slider move to next step begun", NEXT_STEP),
        "style": ("style switch to next step begun", NEXT_STEP),
    }
    for name, (what, limit) in promised.items():
        yield Ratio(what, figures[name] / 1000, "promise", limit, figures[name] / 1000 / limit, 1.0)
    busy = figures["sliderBusy"] / 1000
    yield Ratio("slider move while painting", busy, "promise", NEXT_STEP, busy / NEXT_STEP)
