import subprocess
import sys
from pathlib import Path

import pytest

from exporter.folder import RECEIPT, Receipt, listing, read_receipt, replacing_folder
from exporter.staging import dump
from runtime.errors import BrushletError
from tests.exporter.test_export import command


def finish(folder: Path, name: str = "unet.onnx", text: str = "new") -> None:
    (folder / name).write_text(text)
    receipt = Receipt(
        format="adapter", exporter="x", base_name="b", base_hash="0" * 64,
        files=listing(folder), parity=[],
    )  # fmt: skip
    (folder / RECEIPT).write_bytes(dump(receipt))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    with replacing_folder(tmp_path / "out", "adapter") as folder:
        finish(folder, text="old")
    return tmp_path / "out"


def test_a_folder_is_replaced_whole(out: Path) -> None:
    assert (out / "unet.onnx").read_text() == "old"
    with replacing_folder(out, "adapter") as folder:
        finish(folder, "other.onnx")
        assert (out / "unet.onnx").read_text() == "old"
    assert {path.name for path in out.iterdir()} == {"other.onnx", RECEIPT}
    assert out.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("when", ["working", "swapping"])
def test_an_interrupt_leaves_the_old_folder(
    when: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    def run() -> None:
        with replacing_folder(out, "adapter") as folder:
            finish(folder)
            if when == "working":
                raise KeyboardInterrupt
            monkeypatch.setattr(Path, "rename", interrupted)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert (out / "unet.onnx").read_text() == "old"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_a_killed_export_put_aside_comes_back(out: Path) -> None:
    out.rename(out.parent / ".out.old-x")
    (out.parent / ".out.new-x").mkdir()
    with pytest.raises(KeyboardInterrupt), replacing_folder(out, "adapter"):
        raise KeyboardInterrupt
    assert read_receipt(out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_second_export_at_once_is_refused(out: Path) -> None:
    with replacing_folder(out, "adapter") as first:
        for kind in ("adapter", "optimum"):
            with pytest.raises(BrushletError, match="another export is writing here"):  # noqa: SIM117
                with replacing_folder(out, kind):
                    pass
        finish(first, text="first")
    assert (out / "unet.onnx").read_text() == "first"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_two_commands_at_once_into_one_folder(
    folder: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    """The first holds the folder until the second has ended."""
    request = ["export", "--lora", tiny_loras["wobble"], "--format", "adapter"]
    request += ["--base", tiny_base, "--out", folder]
    script = (
        "import sys, exporter.adapter_format as adapter;"
        "honest = adapter._measure;"
        "adapter._measure = lambda *given:"
        " (print('inside', flush=True), input(), honest(*given))[2];"
        "from exporter.__main__ import app; from runtime.commands import run;"
        "sys.argv[0] = 'exporter'; run(app)"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, request)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert first.stdin
    assert first.stdout
    assert first.stdout.readline() == "inside\n"
    second = command(*request)
    assert second.returncode == BrushletError.exit_code
    last = second.stderr.strip().splitlines()[-1]
    assert f"{folder}: another export is writing here" in last
    _, said = first.communicate("\n", timeout=300)
    assert first.returncode == 0, said
    assert read_receipt(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_somebody_elses_files_are_never_replaced(out: Path) -> None:
    (out / "notes.txt").touch()
    with pytest.raises(BrushletError, match=r"notes\.txt"), replacing_folder(out, "adapter"):
        pass
    (out / "notes.txt").unlink()
    with pytest.raises(BrushletError, match=r"unet\.onnx"), replacing_folder(out, "optimum"):
        pass
    with pytest.raises(BrushletError, match="no folder"):  # noqa: SIM117
        with replacing_folder(out / RECEIPT, "adapter"):
            pass
    assert (out / "unet.onnx").read_text() == "old"
