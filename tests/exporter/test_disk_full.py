"""Exports onto small real filesystems: one line that names OUT, and what was there stays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exporter.test_export import command
from tests.exporter.test_staging import listing

Disk = Callable[[int], Path]
PAGE = 4096  # what a tmpfs counts in


def pages(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sum(-(-path.stat().st_size // PAGE) for path in files)


def copied(folder: Path, disk: Disk, spare: int) -> Path:
    """`folder` on a disk of its own with some pages to spare, as plain files."""
    place = disk((pages(folder) + spare) * PAGE) / "out"
    place.mkdir()
    for path in sorted(folder.rglob("*")):
        target = place / path.relative_to(folder)
        if path.is_dir():
            target.mkdir()
        else:
            target.write_bytes(path.read_bytes())
    return place


def full(out: Path, *arguments: object) -> None:
    """Runs an export that cannot fit."""
    before = listing(out.parent)
    done = command("export", *arguments, "--out", out)
    assert done.returncode == 2, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {out}: cannot be written (No space left on device)"), last
    assert ".stage" not in last
    assert ".new" not in last
    assert listing(out.parent) == before
    assert not list(out.parent.rglob(".*"))


@pytest.mark.parametrize("mode", ["external", "merged"])
def test_a_style_that_does_not_fit(
    mode: str, tiny_bundle: Path, tiny_base: Path, tiny_loras: dict[str, Path], disk: Disk
) -> None:
    out = copied(tiny_bundle, disk, spare=14)  # as many as the pack has, but for the manifest
    request = ["--lora", tiny_loras["wiggle"], "--name", "late", "--mode", mode]
    full(out, *request, "--base", tiny_base)


@pytest.mark.parametrize("form", ["bundle", "optimum", "adapter"])
def test_a_first_export_that_does_not_fit(
    form: str, tiny_base: Path, tiny_loras: dict[str, Path], disk: Disk
) -> None:
    out = disk(256 << 10) / "out"
    full(out, "--lora", tiny_loras["wobble"], "--base", tiny_base, "--format", form)
    assert not out.exists()


def test_an_adapter_that_does_not_fit(
    made: Path, tiny_base: Path, tiny_loras: dict[str, Path], disk: Disk
) -> None:
    """Written by onnxruntime, in C++."""
    out = copied(made, disk, spare=12)
    full(out, "--lora", tiny_loras["wiggle"], "--base", tiny_base, "--format", "adapter")
