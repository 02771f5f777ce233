from pathlib import Path

import pytest
import torch

from runtime.errors import BadFile, BrushletError
from trainer.checkpoint import Checkpoint, Parameters


def begun(seed: int) -> tuple[Parameters, torch.optim.AdamW]:
    torch.manual_seed(seed)
    parameters = {name: torch.nn.Parameter(torch.randn(3, 2)) for name in ("down", "up")}
    return parameters, torch.optim.AdamW(parameters.values(), 0.1)


def learn(parameters: Parameters, adam: torch.optim.AdamW) -> None:
    adam.zero_grad()
    sum(parameter.square().sum() for parameter in parameters.values()).backward()  # type: ignore[union-attr]
    adam.step()


def test_what_goes_on_learns_as_what_never_stopped(tmp_path: Path) -> None:
    place = Checkpoint(tmp_path / "mine.unfinished", {"rank": 4})
    parameters, adam = begun(0)
    assert place.resume(parameters, adam) == (0, 0.0)
    for _ in range(3):
        learn(parameters, adam)
    place.save(3, 0.25, parameters, adam)

    others, again = begun(1)
    assert place.resume(others, again) == (3, 0.25)
    learn(parameters, adam)
    learn(others, again)
    for name, parameter in parameters.items():
        torch.testing.assert_close(others[name], parameter, rtol=0, atol=0)

    place.delete()
    place.delete()
    assert not place.path.exists()


def test_every_setting_that_differs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.unfinished"
    parameters, adam = begun(0)
    learn(parameters, adam)
    Checkpoint(path, {"rank": 4, "seed": 0, "steps": 9}).save(1, 1.0, parameters, adam)
    with pytest.raises(BrushletError) as told:
        Checkpoint(path, {"rank": 8, "seed": 0, "steps": 7}).resume(parameters, adam)
    assert "rank was 4 and is 8; steps was 9 and is 7" in str(told.value)
    assert "--restart" in str(told.value)


def test_another_model_is_no_place_to_go_on(tmp_path: Path) -> None:
    place = Checkpoint(tmp_path / "mine.unfinished", {})
    parameters, adam = begun(0)
    learn(parameters, adam)
    place.save(1, 1.0, parameters, adam)
    del parameters["up"]
    with pytest.raises(BadFile, match="no checkpoint of this training"):
        place.resume(parameters, adam)
