import io
from pathlib import Path

from rich.console import Console

from exporter.export import StyleRequest, export
from exporter.parity import Parity
from exporter.progress import silent
from exporter.report import REPORT_NAME, Report, ReportFile, report_file, show_report
from runtime.bundle import Bundle
from runtime.manifest import FileRef


def test_a_bundle_keeps_the_report_of_its_last_export(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    outcome = export(tiny_base, dist, silent, StyleRequest(tiny_loras["wobble"], "external", "new"))
    kept = ReportFile.model_validate_json((dist / REPORT_NAME).read_bytes())
    assert kept == report_file(outcome)
    (pack,) = kept.written
    assert kept.bytes == pack.bytes == (dist / pack.url).stat().st_size
    assert [line.what for line in kept.parity] == ["new: pack = file"]
    assert REPORT_NAME not in {ref.url for ref in Bundle.open(dist).files()}


def test_files_bytes_parity_and_notes_are_shown() -> None:
    files = [FileRef(url=f"{name}.onnx", bytes=1500, sha256="0" * 64) for name in "ab"]
    report = Report(files, [Parity("unet", 1e-6, 1.0, 1e-5)], ["The base was there already."])
    text = io.StringIO()
    show_report(report, "dist", Console(file=text, width=100))
    for said in ("a.onnx", "1,500", "3,000", "unet", "1.0e-06", "1e-05", "The base was there"):
        assert said in text.getvalue()
