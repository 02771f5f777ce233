"""The real server, as a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

COMMAND = [sys.executable, "-W", "error::DeprecationWarning", "-m", "server"]


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server of its own process, on a free port."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        # A shell that runs the tests in the background has SIGINT ignored, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+", line):
                break
        else:
            raise AssertionError("no address was printed")
        with httpx.Client(base_url=found[0], timeout=60) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
