import pickle
from pathlib import Path

import numpy as np
import pytest

from runtime.bases import conversion, local_base, read_header, settle
from runtime.errors import BadFile, BrushletError
from runtime.files import sha256_file
from runtime.tensors import write_tensors


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "brushlet" / "bases"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"weight": np.ones(2, np.float16)}, {})
    return path


def test_a_folder_a_file_and_an_id(tmp_path: Path, checkpoint: Path) -> None:
    assert local_base(str(tmp_path)) == tmp_path
    assert local_base(str(checkpoint)) == checkpoint
    assert local_base("somebody/model") is None
    with pytest.raises(BrushletError, match="no such base model"):
        local_base(str(tmp_path / "none.ckpt"))


# diffusers opens every file as a pickle whose name does not end in exactly ".safetensors".
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.ckpt", "is a pickle"),
        ("model.PT", "is a pickle"),
        ("model.bin", "is a pickle"),
        ("model", "is not called .safetensors"),
        ("model.SAFETENSORS", "is not called .safetensors"),
    ],
)
def test_what_would_be_opened_as_a_pickle_is_refused_unread(
    name: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(BadFile, match=said) as caught:
        local_base(str(path))
    assert ".safetensors" in caught.value.todo


def test_a_conversion_has_its_place_and_the_last_one_is_found(
    checkpoint: Path, tmp_path: Path, cache: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    with pytest.raises(BadFile, match="is no folder in the diffusers layout"):
        conversion(checkpoint, config)
    (config / "model_index.json").write_text("{}")
    digest = sha256_file(checkpoint)
    assert conversion(checkpoint, None) == cache / digest
    folder = conversion(checkpoint, config)
    assert folder.name.startswith(f"{digest}-")
    unfinished = cache / ".unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "model_index.json").touch()
    settle(unfinished, folder)
    assert conversion(checkpoint, None) == folder
    unfinished.mkdir()
    settle(unfinished, folder)  # a second one: the first stays
    assert (folder / "model_index.json").is_file()


def test_a_header_says_how_weights_are_stored(checkpoint: Path) -> None:
    assert read_header(checkpoint).half
    key = "model.diffusion_model.time_embed.cond_proj.weight"
    write_tensors(checkpoint, {key: np.ones(2, np.float32)}, {})
    header = read_header(checkpoint)
    assert not header.half
    assert header.told_guidance
    checkpoint.write_bytes(b"no header")
    with pytest.raises(BadFile, match="is no safetensors file"):
        read_header(checkpoint)
