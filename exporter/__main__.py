"""`python -m exporter`: the commands `base` and `export`."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from exporter.export import Outcome, StyleRequest, find_lora
from exporter.export import export as run_export
from exporter.progress import showing
from runtime.commands import run

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Base = Annotated[Path, typer.Option(help="pipeline in the diffusers layout")]
Out = Annotated[Path, typer.Option(help="the bundle's folder")]
Fresh = Annotated[bool, typer.Option("--fresh", help="export the base again")]


@app.command()
def base(base: Base = Path("models/base"), out: Out = Path("dist"), fresh: Fresh = False) -> None:
    """Exports the base model alone."""
    with showing() as step:
        outcome = run_export(base, out, step, fresh=fresh)
    _report(outcome, out)


@app.command()
def export(
    lora: Annotated[str, typer.Option(help="name under models/loras/, or a path")],
    mode: Annotated[
        Literal["external", "merged"],
        typer.Option(help="a style pack with a strength slider, or a UNet of its own"),
    ] = "external",
    out: Out = Path("dist"),
    base: Base = Path("models/base"),
    strength: Annotated[
        float | None,
        typer.Option(help="of the merge (default 1.0), or where an external slider starts"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="the style's name; default: the file's, merged: -merged")
    ] = None,
    fresh: Fresh = False,
) -> None:
    """Exports a LoRA as a style, and the base model if `out` does not have it."""
    request = StyleRequest(find_lora(lora), mode, name, strength)
    with showing() as step:
        outcome = run_export(base, out, step, request, fresh)
    _report(outcome, out)


def _report(outcome: Outcome, out: Path) -> None:
    console = Console()
    files = Table("written", "bytes", title=str(out), title_justify="left")
    files.columns[1].justify = "right"
    for ref in outcome.written:
        files.add_row(ref.url, f"{ref.bytes:,}")
    files.add_row("in all", f"{sum(ref.bytes for ref in outcome.written):,}", style="bold")
    console.print(files)
    parity = Table("parity", "error / max", "allowed", "cosine")
    for item in outcome.parity:
        parity.add_row(
            item.what, f"{item.error:.1e}", f"{item.tolerance:.0e}", f"{item.cosine:.7f}"
        )
    if outcome.parity:
        console.print(parity)
    for note in outcome.notes:
        console.print(note)


if __name__ == "__main__":
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # it reports its packaging on import
    run(app)
