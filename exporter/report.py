"""What a command says when it has written something."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from exporter import NAME
from exporter.parity import Parity
from runtime.commands import plain
from runtime.manifest import FileRef, Measurement, Strict

REPORT_NAME = "report.json"


@dataclass(frozen=True)
class Report:
    """Of an export."""

    written: list[FileRef]  # files that were not there before
    parity: list[Parity]
    notes: list[str]  # what else the person should know


class ReportFile(Strict):
    """What the last export into a bundle did, in `report.json` beside its manifest."""

    exporter: str
    written: list[FileRef]
    bytes: int
    parity: list[Measurement]
    notes: list[str]


def report_file(report: Report) -> ReportFile:
    """A report as a bundle keeps it."""
    return ReportFile(
        exporter=NAME,
        written=report.written,
        bytes=sum(ref.bytes for ref in report.written),
        parity=[item.measurement() for item in report.parity],
        notes=report.notes,
    )


def show_report(report: Report, out: str, console: Console) -> None:
    """Prints files, bytes and parity."""
    files = Table("written", "bytes", title=plain(out), title_justify="left")
    files.columns[1].justify = "right"
    for ref in report.written:
        files.add_row(plain(ref.url), f"{ref.bytes:,}")
    files.add_row("in all", f"{sum(ref.bytes for ref in report.written):,}", style="bold")
    console.print(files)
    parity = Table("parity", "error / max", "allowed", "cosine")
    for item in report.parity:
        parity.add_row(
            plain(item.what), f"{item.error:.1e}", f"{item.tolerance:.0e}", f"{item.cosine:.7f}"
        )
    if report.parity:
        console.print(parity)
    for note in report.notes:
        console.print(plain(note))
