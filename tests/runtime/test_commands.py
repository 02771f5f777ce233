import errno
import importlib
import os
import sys

import pytest
import typer

from runtime.commands import progress_bar, run
from runtime.errors import BadFile, Cancelled


def program(error: Exception) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def main() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code", "start"),
    [
        (BadFile("is\nempty", where="a.safetensors", todo="get it again"), 2, "error: "),
        (Cancelled("no"), 130, ""),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: Exception,
    code: int,
    start: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as caught:
        run(program(error))
    assert caught.value.code == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"{start}{error}\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(ZeroDivisionError):
        run(program(ZeroDivisionError()))


def test_a_disk_error_that_nobody_told_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["program"])
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/cache/a.bin")
    with pytest.raises(SystemExit, match="2"):
        run(program(error))
    err = capsys.readouterr().err
    assert err.startswith(
        "error: /cache/a.bin: cannot be read or written (No space left on device)"
    )
    assert err.count("\n") == 1
    with pytest.raises(FileNotFoundError):  # a bug of ours
        run(program(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/a.bin")))


@pytest.mark.parametrize("room", ["exporter", "trainer", "runtime", "server"])
def test_every_command_shows_a_bug_as_python_does(room: str) -> None:
    """typer's own tracebacks print the values of variables, in boxes, over hundreds of lines."""
    app: typer.Typer = importlib.import_module(f"{room}.__main__").app
    assert app.pretty_exceptions_enable is False


def test_progress_goes_to_stderr_with_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as progress:
        task = progress.add_task("denoising", total=4)
        progress.update(task, completed=4)
    out, err = capsys.readouterr()
    assert out == ""
    assert "denoising" in err
    assert "4/4" in err
