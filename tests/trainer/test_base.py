import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from exporter.bases import find_base
from runtime.digests import base_hash
from runtime.errors import BadFile, BrushletError
from runtime.lora import BASE_HASH_KEY
from runtime.tensors import read_tensors
from tests.disks import Disk
from tests.ldm import write_single_file
from tests.tiny import tiny_pipeline
from tests.trainer.conftest import MakeConfig, run
from trainer.base import Base, load_base


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "brushlet" / "bases"


def load(source: Path | str, config: Path | None = None) -> Base:
    return load_base(str(source), torch.device("cpu"), Console(quiet=True), config)


@pytest.fixture
def checkpoint(tiny_base: Path, tmp_path: Path) -> Path:
    return write_single_file(tiny_base, tmp_path / "model.safetensors")


def test_a_checkpoint_is_the_base_that_the_exporter_makes_of_it(
    checkpoint: Path, tiny_base: Path, cache: Path, config_with: MakeConfig
) -> None:
    trained = run(config_with(base=str(checkpoint), base_config=tiny_base, steps=2))
    assert trained.base.name == "model.safetensors"
    assert trained.base.sha256 == load(tiny_base).sha256
    (folder,) = cache.iterdir()
    assert find_base(str(checkpoint)).folder == folder
    _, metadata = read_tensors(trained.config.out)
    assert metadata[BASE_HASH_KEY] == base_hash(folder)
    # And the other way round, without naming the configuration again.
    shutil.rmtree(cache)
    folder = find_base(str(checkpoint), config=tiny_base).folder
    assert load(checkpoint).base_hash == base_hash(folder)


def test_a_hub_id_has_the_hash_of_its_folder(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    stored = tmp_path / "hub" / "models--somebody--tiny"
    shutil.copytree(tiny_base, stored / "snapshots" / ("0" * 40))
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("0" * 40)
    found = load("somebody/tiny")
    assert found.name == "tiny"
    assert found.base_hash == base_hash(tiny_base)


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin", "model", "model.safetensors"])
def test_no_pickle_is_opened(name: str, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return Path.touch, (Path(tmp_path / "opened"),)

    path = tmp_path / name
    path.write_bytes(pickle.dumps({"state_dict": Evil()}))
    with pytest.raises(BadFile, match=r"\.safetensors") as caught:
        load(path)
    assert caught.value.where == str(path)
    assert not (tmp_path / "opened").exists()


def test_a_pickle_is_one_line_on_the_console(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(pickle.dumps({}))
    command = [sys.executable, "-m", "trainer", "mine", "--data", str(pictures)]
    command += ["--base", str(path), "--out", str(tmp_path / "mine.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == BadFile.exit_code
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"error: {path}: is a pickle, which can run any program")
    assert done.stdout == ""


def damaged(base: Path, name: str, content: bytes | None) -> Path:
    if content is None:
        (base / name).unlink()
    else:
        (base / name).write_bytes(content)
    return base


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model_index.json", None),
        ("model_index.json", b"{"),
        ("model_index.json", b'{"_class_name": "StableDiffusionPipeline"}'),
        ("unet/config.json", b"{}"),
        ("unet/config.json", None),
        ("unet/diffusion_pytorch_model.safetensors", b"cut"),
        ("unet/diffusion_pytorch_model.safetensors", None),
        ("text_encoder/model.safetensors", b"cut"),
        ("text_encoder/config.json", b'{"hidden_size": 7}'),
        ("vae/config.json", b"[]"),
        ("tokenizer/vocab.json", b"["),
        ("tokenizer/vocab.json", None),
        ("scheduler/scheduler_config.json", b"\xff"),
    ],
)
def test_a_folder_that_does_not_load_is_one_line(
    name: str, content: bytes | None, tiny_base: Path, tmp_path: Path
) -> None:
    base = damaged(shutil.copytree(tiny_base, tmp_path / "base"), name, content)
    with pytest.raises(BadFile) as caught:
        load(base)
    assert caught.value.where == str(base)
    assert caught.value.todo


def test_a_checkpoint_that_does_not_load_is_one_line(
    checkpoint: Path, tiny_base: Path, inpainting_base: Path, cache: Path
) -> None:
    with pytest.raises(BadFile, match="--base-config"):  # no configuration, no network
        load(checkpoint)
    with pytest.raises(BadFile, match=r"diffusers cannot load it .*--base-config"):
        load(checkpoint, inpainting_base)
    with pytest.raises(BadFile, match="is no folder in the diffusers layout"):
        load(checkpoint, tiny_base / "unet")
    shutil.copy(tiny_base / "text_encoder" / "model.safetensors", checkpoint)
    with pytest.raises(BadFile, match=r"diffusers cannot load it .*--base-config"):
        load(checkpoint, tiny_base)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(BadFile, match="is no safetensors file"):
        load(checkpoint, tiny_base)
    assert not cache.exists() or not list(cache.iterdir())


def test_a_full_cache_is_one_line(
    checkpoint: Path, tiny_base: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = disk(64 << 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    with pytest.raises(BrushletError, match=r"cannot be written .*XDG_CACHE_HOME") as caught:
        load(checkpoint, tiny_base)
    assert caught.value.where == str(place / "brushlet" / "bases")
    assert list((place / "brushlet" / "bases").iterdir()) == []


def test_an_inpainting_base_says_what_to_train_on(inpainting_base: Path) -> None:
    with pytest.raises(BrushletError, match="is an inpainting base, whose UNet takes 9") as caught:
        load(inpainting_base)
    assert "train on the base that it was made from" in caught.value.todo


def test_an_lcm_says_what_to_train_on(lcm_base: Path, checkpoint: Path, tiny_base: Path) -> None:
    key = "model.diffusion_model.time_embed.cond_proj.weight"
    save_file({**load_file(checkpoint), key: torch.zeros(32, 16)}, checkpoint)
    for base in (lcm_base, checkpoint):
        with pytest.raises(BrushletError, match="is an LCM that is told the guidance") as caught:
            load(base, tiny_base)
        assert "train on the base that it was distilled from" in caught.value.todo


def test_a_unet_with_other_conditions_is_refused(tmp_path: Path) -> None:
    depth = tiny_pipeline(tmp_path / "depth", in_channels=5)
    with pytest.raises(BrushletError, match=r"1\.x and 2\.x do not have \(5 channels\)"):
        load(depth)
