import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from runtime.__main__ import app
from runtime.errors import BrushletError


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_verify_tells_how_far_each_variant_is_from_pytorch(tiny_bundle: Path) -> None:
    result = call("verify", tiny_bundle)
    assert result.exit_code == 0
    assert "base (fp32): " in result.output
    assert "files are as the manifest says" in result.output


def test_generate_draws_a_picture(tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "picture.webp"
    options = ["--style", "wiggle:0.8", "--style", "wobble", "--seed", "3", "--steps", "3"]
    options += ["--guidance", "2", "--sampler", "euler", "--negative", "dark", "--size", "96x64"]
    result = call("generate", tiny_bundle, "a castle", *options, "--out", out)
    assert result.exit_code == 0
    with Image.open(out) as picture:
        assert (picture.size, picture.format) == ((96, 64), "WEBP")
    assert "3/3" in result.stderr
    assert result.stdout.strip() == str(out)


def test_a_prompt_that_is_too_long_is_told(tiny_bundle: Path, tmp_path: Path) -> None:
    result = call(
        "generate", tiny_bundle, "x " * 80, "--steps", "1", "--out", tmp_path / "picture.png"
    )
    assert result.exit_code == 0
    assert "only the first 75 tokens are read, 5 were cut off" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--style", "wiggle:much"], "'wiggle:much' has no strength"),
        (["--style", "nobody"], "no style 'nobody'"),
        (["--size", "big"], "'big' is no size"),
        (["--out", "picture.gif"], "picture.gif has no picture suffix"),
        (["--provider", "abacus"], "no provider 'abacus'"),
    ],
)
def test_wrong_options_are_told(options: list[str], words: str, tiny_bundle: Path) -> None:
    result = call("generate", tiny_bundle, "a castle", "--steps", "1", *options)
    assert isinstance(result.exception, BrushletError)
    assert words in str(result.exception)
    assert result.exception.todo


def test_a_problem_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runtime", "verify", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {tmp_path}: has no manifest.json")
