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


def test_progress_goes_to_stderr_with_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as progress:
        task = progress.add_task("denoising", total=4)
        progress.update(task, completed=4)
    out, err = capsys.readouterr()
    assert out == ""
    assert "denoising" in err
    assert "4/4" in err
