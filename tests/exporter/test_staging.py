import errno
import multiprocessing
from pathlib import Path

import pytest

from exporter.staging import read_manifest, staging
from runtime.errors import BadFile, BrushletError
from runtime.manifest import FileRef, Manifest, file_refs


def listing(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def published(dist: Path) -> Manifest:
    manifest = read_manifest(dist)
    assert manifest is not None
    return manifest


def test_the_stage_is_gone_afterwards_and_after_an_error(tmp_path: Path) -> None:
    def interrupted() -> None:
        with staging(tmp_path) as stage:
            stage.add("weights", ".bin", b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_export_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".stage-killed").mkdir()
    (tmp_path / ".stage-killed" / "weights.bin").touch()
    with staging(tmp_path):
        assert not (tmp_path / ".stage-killed").exists()


def test_publishing_prunes_what_the_manifest_dropped_and_nothing_else(dist: Path) -> None:
    (dist / "notes.txt").write_text("mine")
    (dist / "assets").mkdir()
    (dist / "assets" / "index-0123456789abcdef.js").touch()
    orphan = dist / "weights-0123456789abcdef.bin"  # of an export that was killed while moving
    orphan.touch()
    old = published(dist)
    new = old.model_copy(update={"styles": old.styles[:1]})
    with staging(dist) as stage:
        for ref in file_refs(new):
            stage.keep(ref)
        stage.publish(new)
    assert published(dist) == new
    kept = {ref.url for ref in file_refs(new)} | {"manifest.json", "report.json", "notes.txt"}
    assert set(listing(dist)) == kept | {"assets/index-0123456789abcdef.js"}


def test_a_kept_file_must_be_whole(dist: Path) -> None:
    ref = next(file_refs(published(dist)))
    with staging(dist) as stage:
        with pytest.raises(BadFile, match="--fresh"):
            stage.keep(FileRef(url=ref.url, bytes=ref.bytes + 1, sha256=ref.sha256))
        with pytest.raises(BadFile, match="is missing"):
            stage.keep(FileRef(url="weights-gone.bin", bytes=1, sha256=ref.sha256))


def _export_too(out: Path, answer: "multiprocessing.Queue[str]") -> None:
    try:
        with staging(out):
            answer.put("entered")
    except BrushletError as error:
        answer.put(str(error))


def test_a_second_export_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[str] = context.Queue()
    with staging(tmp_path):
        other = context.Process(target=_export_too, args=(tmp_path, answer))
        other.start()
        assert "another export is writing here" in answer.get(timeout=60)
        other.join()
    with staging(tmp_path):  # and free again afterwards
        pass


def test_a_full_disk_is_one_message_and_the_old_bundle(dist: Path) -> None:
    before = listing(dist)

    def on_a_full_disk() -> None:
        with staging(dist) as stage:
            stage.add("weights", ".bin", b"new")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BrushletError, match="No space left on device"):
        on_a_full_disk()
    assert listing(dist) == before


def test_an_unreadable_manifest_is_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text("{}")
    assert read_manifest(tmp_path) is None
