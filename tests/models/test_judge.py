"""The judge names the style of a drawn picture, and each picture by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.classifiers import HEADS, load_judge
from models.classifiers.judge import WEIGHTS
from models.scenes import STYLES, Scene, draw

SEED = 980_000_000


@pytest.mark.parametrize("style", [None, *STYLES])
def test_it_names_the_style_of_drawn_pictures(style: str | None) -> None:
    pictures = [draw(Scene.sample(SEED + i, "held_out"), style) for i in range(12)]
    assert load_judge().judge(pictures)["style"].count(style or "plain") >= 11  # 12 of each


def test_a_picture_is_judged_alike_alone_and_among_others() -> None:
    judge = load_judge()
    pictures = np.stack([draw(Scene.sample(SEED + i)) for i in range(5)])
    whole = judge.probabilities(pictures)
    alone = judge.probabilities([pictures[3]])
    assert set(whole) == set(HEADS)
    for head, classes in HEADS.items():
        assert whole[head].shape == (5, len(classes))
        np.testing.assert_allclose(whole[head].sum(-1), 1, rtol=1e-5)
        np.testing.assert_allclose(whole[head][3], alone[head][0], atol=1e-5)


def test_it_computes_in_float32_and_refuses_weights_of_another(tmp_path: Path) -> None:
    weights = load_file(WEIGHTS)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    judge = load_judge()
    assert {parameter.dtype for parameter in judge.parameters()} == {torch.float32}
    assert not judge.training
    del weights["heads.style.bias"]
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(RuntimeError, match=r"heads\.style\.bias"):
        load_judge(tmp_path / "other.safetensors")
