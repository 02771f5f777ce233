import shutil
from pathlib import Path

import pytest

from exporter.formats import checked_mode, find_source
from runtime.errors import BrushletError
from tests.exporter.test_export import command
from tests.exporter.test_staging import listing


def test_a_weight_is_the_strength_of_a_single_lora(tiny_loras: dict[str, Path]) -> None:
    path = tiny_loras["wiggle"]
    assert find_source("bundle", f"{path}:0.7", None, None) == (path, 0.7)
    assert find_source("bundle", f"{path}:0.7", None, 0.7) == (path, 0.7)
    assert find_source("bundle", str(path), None, 0.6) == (path, 0.6)
    with pytest.raises(BrushletError, match=r"0\.7 in LORA= and 0\.6 in STRENGTH="):
        find_source("bundle", f"{path}:0.7", None, 0.6)


def test_only_the_layout_of_optimum_does_without_a_lora() -> None:
    assert find_source("optimum", None, None, None) == (None, None)
    with pytest.raises(BrushletError, match="no LoRA was named"):
        find_source("bundle", None, None, None)


def test_a_recipe_and_a_lora_are_too_much(tmp_path: Path) -> None:
    with pytest.raises(BrushletError, match="both RECIPE= and LORA="):
        find_source("bundle", "miyazaki", tmp_path / "pack.json", None)


def test_formats_have_their_modes() -> None:
    assert checked_mode("bundle", None) == "external"
    assert checked_mode("bundle", "merged") == "merged"
    assert checked_mode("optimum", None) == "merged"
    assert checked_mode("adapter", None) == "external"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lora", "miyazaki", "--format", "optimum", "--mode", "external"], "FORMAT=optimum"),
        (["--lora", "miyazaki", "--format", "adapter", "--mode", "merged"], "FORMAT=adapter"),
        (["--lora", "miyazaki", "--format", "optimum", "--name", "x"], "no styles to name"),
        (["--lora", "miyazaki", "--format", "adapter"], "FORMAT=adapter wrote"),
        (["--lora", "miyazaki", "--format", "optimum"], "FORMAT=optimum wrote"),
        (["--lora", "miyazaki,gothik"], "gothik"),
        (["--recipe", "none.json"], "none.json"),
        (["--lora", "miyazaki", "--strength", "nan"], "strength nan is no number"),
        (["--lora", "miyazaki", "--strength", "inf", "--mode", "merged"], "strength inf is no"),
        (["--lora", "miyazaki", "--strength", "1e39", "--format", "adapter"], "1e+39 is no"),
        (["--lora", "miyazaki", "--strength", "-inf", "--format", "optimum"], "-inf is no"),
        (["--lora", "miyazaki:nan"], "weight 'nan' is no number"),
        (["--lora", "miyazaki:inf,gothic"], "weight 'inf' is no number"),
        (["--lora", "miyazaki", "--name", "../x", "--mode", "merged"], "name '../x' holds more"),
        (["--lora", "miyazaki", "--name", "Bad Name"], "name 'Bad Name' holds more"),
        (["--lora", "miyazaki", "--name", "a/b", "--format", "adapter"], "name 'a/b' holds more"),
        (["--lora", "miyazaki", "--name", "n" * 99], "99 characters, more than 80"),
        (["--lora", "miyazaki", "--name", "base", "--mode", "merged"], "the base model is called"),
    ],
)
def test_a_request_that_cannot_be_met_changes_nothing(
    arguments: list[str], said: str, dist: Path
) -> None:
    before = listing(dist.parent)
    done = command("export", *arguments, "--out", dist)
    assert done.returncode == BrushletError.exit_code
    *bars, line = done.stderr.strip().splitlines()
    assert said in line
    assert not [bar for bar in bars if "error" in bar or "Traceback" in bar]
    assert listing(dist.parent) == before


def test_a_damaged_lora_of_a_blend_changes_nothing(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    evil = Path(shutil.copy(tiny_loras["wobble"], tmp_path / "evil.safetensors"))
    evil.write_bytes(evil.read_bytes()[:-100])
    before = listing(dist)
    loras = f"{tiny_loras['wiggle']}:0.5,{evil}:0.5"
    done = command("export", "--lora", loras, "--base", tiny_base, "--out", dist)
    assert done.returncode == BrushletError.exit_code
    (line,) = done.stderr.strip().splitlines()
    assert str(evil) in line
    assert listing(dist) == before
