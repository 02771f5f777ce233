"""What all our commands share: errors as one line, progress as a bar."""

import sys
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from runtime.errors import BrushletError, Cancelled
from runtime.writing import DISK_ERRORS


def run(app: typer.Typer) -> None:
    """Runs a command-line program; a BrushletError ends it with one line and its exit code.

    So does a disk that is full, read-only or somebody else's, where nothing nearer has told it.
    """
    try:
        app()
    except BrushletError as error:
        _end(error)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        todo = "see to free space there and to its permissions"
        what = f"cannot be read or written ({error.strerror})"
        _end(BrushletError(what, where=str(error.filename or "a file"), todo=todo))


def _end(error: BrushletError) -> NoReturn:
    if not isinstance(error, Cancelled):
        typer.secho("error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(plain(error).plain, err=True)
    sys.exit(error.exit_code)


def plain(text: object) -> Text:
    """A text for a console as it is.

    LoRA files come from strangers: `[/b]` in a trigger word is no markup of ours, and a control
    character no command for somebody's terminal.
    """
    return Text("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(text)))


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f}/s" if task.speed else "", style="progress.data.speed")


def progress_bar() -> Progress:
    """A bar on stderr with count, rate and remaining time."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
