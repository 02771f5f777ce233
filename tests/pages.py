"""The built page behind the real server, and the scripts that visit it in a real Chromium."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.serving import serving

WEB = Path(__file__).parents[1] / "web"


@contextmanager
def page(bundle: Path) -> Iterator[str]:
    """The address of the built page and a bundle, served by a process of its own."""
    assert (WEB / "dist" / "index.html").is_file(), "build the page first: make page"
    with serving("--bundle", str(bundle), "--page", str(WEB / "dist")) as (_, client):
        yield str(client.base_url)


def promises(script: str, *arguments: str) -> dict[str, str]:
    """What a script of `web/tests` says of each promise: name -> line; "all": everything."""
    done = subprocess.run(
        ["node", f"tests/{script}", *arguments],
        cwd=WEB,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    lines = done.stdout + done.stderr
    assert "kept " in lines or "BROKEN " in lines, lines
    return {"all": lines} | {line[9:].rsplit(" (", 1)[0]: line for line in lines.splitlines()}


@contextmanager
def visitor(script: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A script of `web/tests` that is spoken with; sent away when it waits for what does not come
    any more."""
    process = subprocess.Popen(
        ["node", f"tests/{script}", *arguments],
        cwd=WEB,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
