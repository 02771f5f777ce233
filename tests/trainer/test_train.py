import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from runtime.errors import BadFile, BrushletError, Cancelled
from tests.disks import Disk
from tests.trainer.conftest import MakeConfig, run
from trainer.progress import Stop, TrainingBar
from trainer.train import train


def test_the_loss_falls_on_a_toy(config_with: MakeConfig) -> None:
    quick = {"learning_rate": 1e-2, "batch_size": 4, "rank": 8, "caption_dropout": 0}
    first = run(config_with(**quick, steps=1, warmup_steps=0))
    last = run(config_with(**quick, steps=60))
    assert last.loss < 0.9 * first.loss  # 1.02 -> 0.75 when this was written


def test_lora_plus_lets_lora_b_learn_faster(config_with: MakeConfig) -> None:
    """AdamW's first step moves every number by the learning rate; `lora_A` waits for `lora_B`."""
    first = {"learning_rate": 1e-3, "steps": 1, "warmup_steps": 0, "weight_decay": 0}
    begun = []
    for ratio in (1, 8):
        parameters = run(config_with(**first, lora_plus_ratio=ratio)).parameters
        ends = [p.abs().max().item() for name, p in parameters.items() if ".lora_B." in name]
        assert ends == pytest.approx([1e-3 * ratio] * len(ends), rel=1e-3)
        begun.append({name: p for name, p in parameters.items() if ".lora_A." in name})
    assert begun[0].keys() == begun[1].keys()
    assert all(torch.equal(one, begun[1][name]) for name, one in begun[0].items())


def test_the_same_seed_gives_the_same_file(config_with: MakeConfig, tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.safetensors" for index in range(3)]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        run(config_with(out=path, seed=seed))
    first, second, other = (path.read_bytes() for path in paths)
    assert first == second
    assert first != other


def test_a_resumed_training_equals_an_uninterrupted_one(
    config_with: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    trained = run(config_with(out=whole))

    stop = Stop()

    def ask_after_three(_bar: TrainingBar, done: int, _loss: float) -> None:
        stop.asked = done == 3

    with monkeypatch.context() as patch:
        patch.setattr(TrainingBar, "step", ask_after_three)
        with pytest.raises(Cancelled, match="stopped after step 3 of 6"):
            run(config_with(out=parts), stop)
    assert not parts.exists()
    assert parts.with_suffix(".unfinished").is_file()

    resumed = run(config_with(out=parts))
    assert resumed.loss == trained.loss
    assert parts.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.glob("parts.*")) == [
        "parts.json",
        "parts.png",
        "parts.safetensors",
    ]


def _stopped(config_with: MakeConfig) -> Path:
    stop = Stop()
    stop.asked = True
    config = config_with()
    with pytest.raises(Cancelled):
        run(config, stop)
    return config.out.with_suffix(".unfinished")


def test_other_settings_do_not_take_over_a_checkpoint(config_with: MakeConfig) -> None:
    path = _stopped(config_with)
    with pytest.raises(BrushletError, match=r"learning_rate was 0\.001 and is 0\.01") as caught:
        run(config_with(learning_rate=0.01))
    assert "--restart" in caught.value.todo
    run(config_with(learning_rate=0.01), restart=True)
    assert not path.exists()


def test_a_damaged_checkpoint_is_named(config_with: MakeConfig) -> None:
    path = _stopped(config_with)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadFile, match=r"mine\.unfinished: is cut short"):
        run(config_with())


def test_a_diverged_training_says_so(
    config_with: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.train.target", lambda batch, _: batch.noise * float("inf"))
    with pytest.raises(BrushletError, match="the loss is no longer a number") as caught:
        run(config_with())
    assert "lower learning_rate" in caught.value.todo


def test_captions_that_will_not_work_as_meant_are_noted(
    config_with: MakeConfig, pictures: Path
) -> None:
    (pictures / "metadata.jsonl").write_text(
        '{"file_name": "0.png", "text": "a sea"}\n'
        + json.dumps({"file_name": "1.png", "text": "my style, " + "x " * 100})
        + '\n{"file_name": "2.png", "text": "my style, day"}\n'
    )
    console = Console(file=io.StringIO(), width=200)
    train(config_with(steps=1, warmup_steps=0), console, Stop())
    assert isinstance(console.file, io.StringIO)
    notes = console.file.getvalue()
    assert "note: 1 captions are longer than 77 tokens" in notes
    assert "note: the trigger words 'my style' are missing in 1 captions" in notes


def test_a_taesd_trains(config_with: MakeConfig, taesd_base: Path) -> None:
    quick = {"base": str(taesd_base), "learning_rate": 1e-2, "batch_size": 4, "rank": 8}
    first = run(config_with(**quick, caption_dropout=0, steps=1, warmup_steps=0))
    last = run(config_with(**quick, caption_dropout=0, steps=60))
    assert last.loss < 0.9 * first.loss
    assert last.config.out.is_file()


FULL = r"cannot be written \(No space left on device\)"


def test_a_full_disk_keeps_the_state_before(config_with: MakeConfig, disk: Disk) -> None:
    place = disk(1 << 20)
    config = config_with(out=place / "mine.safetensors", checkpoint_seconds=0)
    checkpoint = config.out.with_suffix(".unfinished")
    stop = Stop()
    stop.asked = True
    with pytest.raises(Cancelled):
        run(config, stop)
    before = checkpoint.read_bytes()
    filler = fill(place, spare=len(before) // 2)
    with pytest.raises(BrushletError, match=FULL) as caught:
        run(config)
    assert caught.value.where == str(checkpoint)
    assert "the same command then goes on" in caught.value.todo
    assert checkpoint.read_bytes() == before
    assert sorted(path.name for path in place.iterdir()) == ["filler", "mine.unfinished"]
    filler.unlink()
    run(config)
    assert config.out.is_file()


def test_a_disk_that_is_full_at_the_end_keeps_the_trained_state(
    config_with: MakeConfig, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = disk(1 << 20)
    config = config_with(out=place / "mine.safetensors")

    def another_program(*_: object) -> bytes:
        fill(place, spare=0)
        return b"a thumbnail"

    with monkeypatch.context() as patch:
        patch.setattr("trainer.train.draw_thumbnail", another_program)
        with pytest.raises(BrushletError, match=FULL) as caught:
            run(config)
    assert caught.value.where == str(config.out.with_suffix(".png"))
    assert "the trained state is kept" in caught.value.todo
    (place / "filler").unlink()
    console = Console(file=io.StringIO(), width=200)
    train(config, console, Stop())
    assert isinstance(console.file, io.StringIO)
    assert "going on after step 6 of 6" in console.file.getvalue()


def fill(place: Path, spare: int) -> Path:
    """A file that takes what is free on a disk, but for some bytes."""
    filler = place / "filler"
    free = os.statvfs(place)
    filler.write_bytes(bytes(free.f_bavail * free.f_bsize - spare))
    return filler


def test_a_place_that_cannot_be_written_is_told_before_the_training(
    config_with: MakeConfig, read_only_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.train.fill_cache", None)  # the first work there is
    out = read_only_disk / "mine.safetensors"
    with pytest.raises(
        BrushletError, match=r"cannot be written \(Read-only file system\)"
    ) as caught:
        run(config_with(out=out))
    assert caught.value.where == str(out)


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"gradient_checkpointing": True}])
def test_other_ways_of_computing_learn_alike(
    config_with: MakeConfig, options: dict[str, object]
) -> None:
    reference = run(config_with())
    other = run(config_with(**options))
    assert other.loss == pytest.approx(reference.loss, rel=2e-2)  # bf16: 2e-3 measured
    for name, parameter in other.parameters.items():
        assert torch.isfinite(parameter).all(), name


def test_ctrl_c_saves_and_the_same_command_goes_on(
    pictures: Path, tiny_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.safetensors"
    settings = ["steps=120", "batch_size=2", "rank=2", "alpha=2", "checkpoint_seconds=0"]
    command = [sys.executable, "-m", "trainer", "mine", "--data", str(pictures)]
    command += ["--base", str(tiny_base), "--out", str(out)]
    command += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    checkpoint = out.with_suffix(".unfinished")
    until = time.monotonic() + 120
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing is lost" in errors
    assert "Traceback" not in errors
    assert not out.exists()

    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "going on after step" in again.stdout
    assert out.is_file()
    assert not checkpoint.exists()
