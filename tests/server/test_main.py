import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from runtime.errors import BrushletError
from server.settings import make_settings
from tests.server.conftest import until_opened

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


def test_a_real_server(tiny_bundle: Path, tiny_page: Path) -> None:
    options = ["--bundle", str(tiny_bundle), "--page", str(tiny_page)]
    with serving(*options) as (process, client):
        assert client.base_url.host == "127.0.0.1"
        assert until_opened(client).json()["status"] == "ready"
        page = client.get("/")
        assert page.headers["cross-origin-opener-policy"] == "same-origin"
        assert page.headers["cross-origin-embedder-policy"] == "require-corp"
        assert "server" not in page.headers
        shard = next(tiny_bundle.glob("weights-*.bin"))
        part = client.get(f"/bundle/{shard.name}", headers={"Range": "bytes=2-5"})
        assert (part.status_code, part.content) == (206, shard.read_bytes()[2:6])
        assert "immutable" in part.headers["cache-control"]
        assert client.post("/v1/encode", json={"prompt": "a castle"}).is_success

        process.send_signal(signal.SIGINT)
        assert process.stderr
        errors = process.stderr.read()
        assert process.wait(timeout=30) in (130, -signal.SIGINT)
        assert "Traceback" not in errors


def test_it_never_loads_torch() -> None:
    script = "import sys, server.__main__; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def _fails(*options: str) -> str:
    ended = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_missing_bundle_ends_with_one_clear_line(tmp_path: Path) -> None:
    errors = _fails("--bundle", str(tmp_path))
    assert "has no manifest.json" in errors
    assert "exporter" in errors
    assert errors.count("\n") == 1


def test_a_taken_port_is_named(tiny_bundle: Path, taken_port: int) -> None:
    errors = _fails("--bundle", str(tiny_bundle), "--port", str(taken_port))
    assert f"127.0.0.1:{taken_port}: cannot listen there: Address already in use" in errors


@pytest.mark.parametrize("options", [("--max-sde", "9"), ("--port", "http")])
def test_unknown_and_wrong_options_are_refused(options: tuple[str, str]) -> None:
    assert options[0] in _fails(*options)


def test_unknown_and_wrong_settings_are_refused() -> None:
    with pytest.raises(BrushletError) as caught:
        make_settings(max_sde=9, port=99999, allow_origins=("example.org",))
    for key in ("max_sde: Extra inputs", "port: ", "allow_origins.0: "):
        assert key in str(caught.value)
