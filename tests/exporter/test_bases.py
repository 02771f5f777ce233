import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.bases import Base, find_base
from exporter.pipeline import load_unet
from runtime.errors import BadFile, BrushletError
from tests.exporter.test_export import command
from tests.ldm import write_single_file


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "brushlet" / "bases"


def test_a_folder_is_itself(tiny_base: Path) -> None:
    assert find_base(str(tiny_base)) == Base(tiny_base, "tiny")
    assert find_base("models/base").name == "brushlet"


def test_a_single_file_is_converted_once_with_the_same_weights(
    tiny_base: Path, tmp_path: Path, cache: Path
) -> None:
    path = write_single_file(tiny_base, tmp_path / "model.safetensors")
    found = find_base(str(path), config=tiny_base)
    folder = found.folder
    assert found.name == "model"
    for part in (
        "unet/diffusion_pytorch_model",
        "vae/diffusion_pytorch_model",
        "text_encoder/model",
    ):
        ours = load_file(folder / f"{part}.safetensors")
        theirs = load_file(tiny_base / f"{part}.safetensors")
        assert ours.keys() == theirs.keys()
        assert all((ours[key] == theirs[key]).all() for key in ours)
        assert {tensor.dtype for tensor in ours.values()} == {
            tensor.dtype for tensor in theirs.values()
        }
    assert [found.name for found in cache.iterdir()] == [folder.name]  # and nothing unfinished
    before = (folder / "model_index.json").stat().st_mtime_ns
    assert find_base(str(path)) == found
    assert (folder / "model_index.json").stat().st_mtime_ns == before


def test_a_single_inpainting_file_has_nine_channels(inpainting_base: Path, tmp_path: Path) -> None:
    path = write_single_file(inpainting_base, tmp_path / "model.safetensors")
    unet = load_unet(find_base(str(path), config=inpainting_base).folder)
    assert unet.config.in_channels == unet.conv_in.weight.shape[1] == 9


def test_a_single_file_without_its_configuration_says_what_to_name(
    tiny_base: Path, tmp_path: Path
) -> None:
    path = write_single_file(tiny_base, tmp_path / "model.safetensors")
    with pytest.raises(BadFile, match="--base-config"):
        find_base(str(path))


def test_another_configuration_is_another_base(
    tiny_base: Path, inpainting_base: Path, tmp_path: Path
) -> None:
    path = write_single_file(tiny_base, tmp_path / "model.safetensors")
    found = find_base(str(path), config=tiny_base)
    with pytest.raises(BadFile, match=r"conv_in.weight expected shape .*9"):
        find_base(str(path), config=inpainting_base)
    velocity = shutil.copytree(tiny_base, tmp_path / "velocity")
    scheduler = velocity / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace('"epsilon"', '"v_prediction"'))
    other = find_base(str(path), config=velocity)
    assert other != found
    assert find_base(str(path)) == other
    assert "v_prediction" in (other.folder / "scheduler" / "scheduler_config.json").read_text()


def test_a_single_file_that_is_told_the_guidance_is_refused(
    tiny_base: Path, tmp_path: Path, cache: Path
) -> None:
    path = write_single_file(tiny_base, tmp_path / "model.safetensors")
    tensors = load_file(path)
    key = "model.diffusion_model.time_embed.cond_proj.weight"
    save_file({**tensors, key: torch.zeros(32, 16)}, path)
    with pytest.raises(BadFile, match=r"is an LCM .*diffusers folder or Hugging Face id"):
        find_base(str(path), config=tiny_base)
    assert not cache.exists()


def test_a_single_file_that_is_none_leaves_nothing(
    tiny_base: Path, tmp_path: Path, cache: Path
) -> None:
    path = write_single_file(tiny_base, tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadFile, match="is no safetensors file"):
        find_base(str(path), config=tiny_base)
    shutil.copy(tiny_base / "text_encoder" / "model.safetensors", path)
    with pytest.raises(BadFile, match="diffusers cannot load it"):
        find_base(str(path), config=tiny_base)
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_pickles_are_refused_unread(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps({}))
    with pytest.raises(BadFile, match=r"is a pickle.*\.safetensors"):
        find_base(str(path))


def test_a_hub_id_is_found_in_the_hub_s_cache(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(BrushletError, match="not in the cache of the hub"):
        find_base("somebody/tiny")
    stored = tmp_path / "hub" / "models--somebody--tiny"
    shutil.copytree(tiny_base, stored / "snapshots" / ("0" * 40))
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("0" * 40)
    found = find_base("somebody/tiny")
    assert found.name == "tiny"
    assert (found.folder / "model_index.json").is_file()


@pytest.mark.parametrize("name", ["none.safetensors", "none.ckpt"])
def test_what_is_nothing_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(BrushletError, match="no such base model"):
        find_base(str(tmp_path / name))


def test_two_conversions_at_once_are_one(tiny_base: Path, tmp_path: Path, cache: Path) -> None:
    path = write_single_file(tiny_base, tmp_path / "model.safetensors")
    script = (
        "import sys; from pathlib import Path; from exporter.bases import find_base;"
        "print(find_base(sys.argv[1], Path(sys.argv[2])).folder)"
    )
    command = [sys.executable, "-c", script, str(path), str(tiny_base)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    (folder,) = {out.strip() for out, _ in told}
    assert [place.name for place in cache.iterdir()] == [Path(folder).name]


def test_a_full_cache_is_one_line(
    tiny_base: Path, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_single_file(tiny_base, tmp_path / "model.safetensors")
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk))
    request = ["--base", path, "--base-config", tiny_base, "--out", tmp_path / "dist"]
    done = command("base", *request)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert f"{small_disk}/brushlet/bases: cannot be written (No space left on device)" in last
    assert "XDG_CACHE_HOME" in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "dist").exists()
    assert list((small_disk / "brushlet" / "bases").iterdir()) == []
