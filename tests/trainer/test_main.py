import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime.commands import run
from trainer.__main__ import app, duration
from trainer.config import TrainConfig

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "which style?"),
        (["mine"], "none of the embedded styles (miyazaki, gothic, cyberpunk) - give a folder"),
        (["miyazaki", "--set", "rank=none"], "rank: Input should be a valid integer"),
        (["miyazaki", "--config", "none.toml"], "none.toml: cannot be read"),
        (["mine", "--data", "nowhere"], "nowhere: there is no such folder"),
        (["miyazaki", "--base", "/nowhere"], "/nowhere: there is no such base model - give a"),
    ],
)
def test_an_error_is_one_clear_line(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["trainer", *arguments])
    with pytest.raises(SystemExit, match="2"):
        run(app)
    errors = capsys.readouterr().err
    assert complaint in errors
    assert errors.count("\n") == 1


def test_an_embedded_style_is_drawn_and_trained(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("few.toml").write_text("steps = 2\nwarmup_steps = 0\nbatch_size = 2\n")
    arguments = ["gothic", "--base", str(tiny_base), "--config", "few.toml"]
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert len(list(Path(".work/datasets/gothic").glob("*.png"))) == 20
    assert "20 pictures of 64x64" in result.output
    assert Path("models/loras/gothic.safetensors").is_file()
    assert re.search(r"mean loss [\d.]+, in (\d+ min )?\d+ s$", result.output.strip())


def test_a_duration_is_told_in_minutes_and_seconds() -> None:
    assert [duration(seconds) for seconds in (0.2, 59.4, 59.6, 269)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "4 min 29 s",
    ]


def test_pictures_that_cannot_be_drawn_are_one_line(
    read_only_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(read_only_disk)
    monkeypatch.setattr("sys.argv", ["trainer", "gothic"])
    with pytest.raises(SystemExit, match="2"):
        run(app)
    errors = capsys.readouterr().err
    assert ".work/datasets/gothic: cannot be written (Read-only file system)" in errors
    assert errors.count("\n") == 1


def test_settings_lists_every_setting() -> None:
    result = runner.invoke(app, ["--settings"])
    assert result.exit_code == 0
    for key in TrainConfig.model_fields:
        assert re.search(rf"\b{key}\b", result.output), key
