"""Real signals, in processes of their own: one line, an exit code, nothing changed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.bundle import Bundle
from tests.exporter.test_staging import listing

# Runs the command; the process signals itself when the named function is called.
_SCRIPT = """
import importlib, os, runpy, sys
place, number, *arguments = sys.argv[1:]
module, _, name = place.rpartition(".")
holder = importlib.import_module(module.partition(":")[0])
for part in filter(None, module.partition(":")[2].split(".")):
    holder = getattr(holder, part)
honest = getattr(holder, name)
def signalled(*given, **named):
    os.kill(os.getpid(), int(number))
    return honest(*given, **named)
setattr(holder, name, signalled)
sys.argv = ["exporter", *arguments]
from exporter.__main__ import app
from runtime.commands import run
run(app)
"""


def signalled(place: str, number: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command, signalled at `module:Class.function`, or `module.function`."""
    given = [sys.executable, "-c", _SCRIPT, place, str(int(number)), *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True, check=False)


def lines(text: str) -> list[str]:
    """What a person reads at the end, without the bars."""
    return [line for line in text.splitlines() if "interrupted" in line or "Traceback" in line]


@pytest.mark.parametrize(
    ("place", "number", "mode"),
    [
        ("exporter.external.make_pack", signal.SIGINT, "external"),
        ("exporter.staging._sync", signal.SIGTERM, "external"),
        ("exporter.staging._check_readable", signal.SIGINT, "merged"),
    ],
)
def test_an_interrupted_style_was_never_there(
    place: str, number: int, mode: str, dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    before = listing(dist)
    request = ["--lora", tiny_loras["wobble"], "--mode", mode, "--name", "late"]
    done = signalled(place, number, "export", *request, "--base", tiny_base, "--out", dist)
    assert done.returncode == 128 + number, done.stderr
    assert lines(done.stderr) == [f"interrupted; {dist} is as it was"]
    assert listing(dist) == before
    assert not list(dist.glob(".*"))


@pytest.mark.parametrize("place", ["exporter.staging.write_whole", "exporter.staging:Stage._move"])
def test_a_signal_while_files_move_comes_when_all_have(
    place: str, dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    request = ["--lora", tiny_loras["wobble"], "--name", "late"]
    done = signalled(place, signal.SIGINT, "export", *request, "--base", tiny_base, "--out", dist)
    assert done.returncode == 130, done.stderr
    assert lines(done.stderr) == [f"interrupted; {dist} holds the new export"]
    bundle = Bundle.open(dist)
    bundle.verify()
    assert bundle.style("late")
    assert not list(dist.glob(".*"))


@pytest.mark.parametrize("form", ["bundle", "adapter"])
def test_an_interrupted_first_export_leaves_no_folder(
    form: str, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    """Ctrl-C from outside, as soon as something is being written."""
    out = tmp_path / "deep" / "out"
    request = ["--lora", tiny_loras["wobble"], "--base", tiny_base, "--format", form]
    command = [sys.executable, "-m", "exporter", "export", *request, "--out", out]
    running = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    while not out.parent.is_dir():
        assert running.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert lines(said) == [f"interrupted; {out} is as it was"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "state"),
    [
        ("exporter.whole.export", "is as it was"),
        ("exporter.adapter_format._measure", "is as it was"),
        ("exporter.folder._swap", "holds the new export"),
    ],
)
def test_an_interrupted_folder_is_the_old_one_or_the_new_one(
    place: str, state: str, folder: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    before = listing(folder.parent)
    request = ["--lora", tiny_loras["wobble"], "--strength", 0.3, "--format", "adapter"]
    request += ["--fresh"] if "whole" in place else []
    where = ["--base", tiny_base, "--out", folder]
    done = signalled(place, signal.SIGTERM, "export", *request, *where)
    assert done.returncode == 143, done.stderr
    assert lines(done.stderr) == [f"interrupted; {folder} {state}"]
    after = listing(folder.parent)
    assert after.keys() == before.keys()
    assert (after == before) == (state == "is as it was")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
