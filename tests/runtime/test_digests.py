import json
import shutil
from pathlib import Path

import pytest

from runtime import digests
from runtime.digests import base_hash, model_files
from runtime.errors import BadFile
from runtime.manifest import FileRef


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return shutil.copytree(tiny_base, tmp_path / "tiny")


def test_the_hash_is_of_the_content_not_the_place(base: Path, tiny_base: Path) -> None:
    assert base_hash(base) == base_hash(tiny_base)


def test_one_changed_weight_changes_the_hash(base: Path) -> None:
    before = base_hash(base)
    path = base / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert base_hash(base) != before


def test_files_that_are_no_part_of_the_model_do_not_count(base: Path) -> None:
    before = base_hash(base)
    (base / "README.md").write_text("about")
    (base / "preview.safetensors").touch()
    assert base_hash(base) == before
    assert {path.parent.name for path in model_files(base)} == {
        "tiny", "scheduler", "text_encoder", "tokenizer", "unet", "vae",
    }  # fmt: skip


def test_what_draws_nothing_may_be_there_or_not(base: Path) -> None:
    """A safety checker, for one, whose folder people delete."""
    index = json.loads((base / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (base / "model_index.json").write_text(json.dumps(index))
    without = base_hash(base)
    (base / "safety_checker").mkdir()
    (base / "safety_checker" / "model.safetensors").write_bytes(b"1234")
    assert base_hash(base) == without


def test_a_second_hash_reads_no_file(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = base_hash(base)
    monkeypatch.setattr(digests, "sha256_file", None)
    assert base_hash(base) == before


def test_a_damaged_or_unwritable_cache_only_costs_time(base: Path, tmp_path: Path) -> None:
    before = base_hash(base)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert base_hash(base) == before


def test_a_folder_that_is_no_pipeline_is_refused(base: Path) -> None:
    with pytest.raises(BadFile, match="model_index"):
        base_hash(base / "unet")
    shutil.rmtree(base / "vae")
    with pytest.raises(BadFile, match="has no folder vae"):
        base_hash(base)


def test_files_just_written_are_not_read_again(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = base / "model_index.json"
    digest = digests.sha256_file(path)
    ref = FileRef(url=path.name, bytes=path.stat().st_size, sha256=digest)
    digests.remember(base, [ref])
    monkeypatch.setattr(digests, "sha256_file", None)
    assert digests.altered_files(base, [ref]) == []
    monkeypatch.undo()
    path.write_text("{}")
    assert digests.altered_files(base, [ref]) == [path.name]
