from pathlib import Path

import pytest

from runtime.errors import BrushletError
from tests.trainer.conftest import MakeConfig
from trainer.config import parse_assignments, read_toml


def test_an_unknown_key_is_named(config_with: MakeConfig) -> None:
    with pytest.raises(BrushletError, match="there is no setting 'learning_rat'"):
        config_with(learning_rat=1)


def test_every_bad_value_is_named_at_once(config_with: MakeConfig) -> None:
    with pytest.raises(BrushletError) as caught:
        config_with(rank=0, steps="many", name="Über")
    for key in ("rank: ", "steps: ", "name: "):
        assert key in str(caught.value)
    assert "--settings" in caught.value.todo


def test_values_that_contradict_each_other_are_refused(config_with: MakeConfig) -> None:
    with pytest.raises(BrushletError, match=r"warmup_steps \(9\) must be below steps \(6\)"):
        config_with(warmup_steps=9)
    with pytest.raises(BrushletError, match=r"out must end in \.safetensors"):
        config_with(out="mine.ckpt")


def test_assignments_are_converted_by_the_config(config_with: MakeConfig) -> None:
    values = parse_assignments(["steps=100", "learning-rate=2e-4", "flip=false", "title=A = B"])
    config = config_with(**values)
    assert (config.steps, config.learning_rate, config.flip) == (100, 2e-4, False)
    assert config.title == "A = B"


def test_an_assignment_needs_a_value() -> None:
    with pytest.raises(BrushletError, match="'steps' is not KEY=VALUE"):
        parse_assignments(["steps"])


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("steps = 7\n")
    assert read_toml(path) == {"steps": 7}
    path.write_text("steps = \n")
    with pytest.raises(BrushletError, match=r"mine\.toml: is not TOML"):
        read_toml(path)
    path.write_bytes('title = "城堡"'.encode("gbk"))
    with pytest.raises(BrushletError, match=r"mine\.toml: is not UTF-8 - save it as UTF-8"):
        read_toml(path)
    with pytest.raises(BrushletError, match="cannot be read"):
        read_toml(tmp_path / "none.toml")
