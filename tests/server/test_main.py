import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

from server.__main__ import serve
from server.settings import Settings
from tests.server.conftest import problem, until_opened
from tests.serving import COMMAND, serving


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


def test_limits_and_names_are_options(tiny_bundle: Path) -> None:
    limits = ["--max-prompt-bytes", "30", "--connections", "4", "--allow-host", "example.org"]
    with serving("--bundle", str(tiny_bundle), *limits) as (_, client), ExitStack() as idle:
        until_opened(client)
        assert client.post("/v1/encode", json={"prompt": "x"}).is_success
        too_long = client.post("/v1/encode", json={"prompt": "x" * 30})
        assert "larger than 30 bytes" in problem(too_long, 413, "too-large")
        assert client.get("/livez", headers={"Host": "example.org"}).is_success
        host, port = client.base_url.host, client.base_url.port
        assert port
        for _ in range(4):
            idle.enter_context(socket.create_connection((host, port)))
        deadline = monotonic() + 30
        while client.get("/livez").status_code != 503:  # once all four are accepted
            assert monotonic() < deadline
            sleep(0.05)


def test_every_setting_is_an_option() -> None:
    help_page = subprocess.run(
        [*COMMAND, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout
    for name in Settings.model_fields:
        option = f"--{name.replace('_', '-').rstrip('s')}"  # an option given repeatedly is singular
        assert option in help_page


@pytest.mark.parametrize(
    ("host", "names", "noted"),
    [("0.0.0.0", None, True), ("0.0.0.0", ["example.org"], False), ("127.0.0.1", None, False)],
)
def test_it_says_when_it_answers_to_any_name(
    tiny_bundle: Path,
    host: str,
    names: list[str] | None,
    noted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def close(_server: object, sockets: list[socket.socket]) -> None:
        for listening in sockets:
            listening.close()

    monkeypatch.setattr("uvicorn.Server.run", close)
    serve(bundle=tiny_bundle, host=host, port=0, allow_host=names)
    assert ("answers to any host name" in capsys.readouterr().err) == noted


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
