"""The built page in a real Chromium, with the real server behind it."""

import subprocess
from pathlib import Path

import pytest

from tests.server.test_main import serving

WEB = Path(__file__).parents[2] / "web"


@pytest.fixture(scope="module")
def told(tiny_bundle: Path) -> dict[str, str]:
    """What `web/tests/page/e2e.mjs` says of each promise of the page: name -> line."""
    assert (WEB / "dist" / "index.html").is_file(), "build the page first: make page"
    with serving("--bundle", str(tiny_bundle), "--page", str(WEB / "dist")) as (_, client):
        done = subprocess.run(
            ["node", "tests/page/e2e.mjs", str(client.base_url)],
            cwd=WEB,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    lines = done.stdout + done.stderr
    assert "kept " in lines or "BROKEN " in lines, lines
    return {"all": lines} | {line[9:].rsplit(" (", 1)[0]: line for line in lines.splitlines()}


@pytest.mark.parametrize(
    "promise",
    [
        "a picture is painted in an isolated page, within tolerance of PyTorch",
        "the slider at 0 is the base picture, and the model is not loaded again",
        "the same settings give the same picture",
        "a merged style is painted without a slider",
        "cancel ends the picture within a step, and the next one is painted",
        "live: the slider's last place wins",
        "an altered shard is named; Retry gets a sound one",
        "a truncated shard is named",
        "a server that is down is named; Retry paints",
        "a style of another base is refused with both names",
        "everything can be done from the keyboard",
        "the chosen language is remembered",
        "a Chinese visitor is spoken to in Chinese",
    ],
)
def test_the_page_keeps_its_promises(promise: str, told: dict[str, str]) -> None:
    assert told.get(promise, "").startswith("kept "), told["all"]
