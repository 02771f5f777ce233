"""What the judge is trained on still shows what its labels say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.classifiers import HEADS, load_judge
from models.scenes import Scene, draw
from models.training import classifier
from models.training.classifier import labels_of, roughen, round_trips
from models.training.places import BASE
from models.training.vae import to_tensor


def scenes(count: int) -> list[Scene]:
    return [Scene.sample(970_000_000 + index, "held_out") for index in range(count)]


def test_labels_are_places_in_the_heads_words() -> None:
    some = scenes(6)
    labels = labels_of(some, ["plain", "gothic"] * 3)
    assert set(labels) == set(HEADS)
    for head in ("time", "ground", "object"):
        words = [HEADS[head][index] for index in labels[head].tolist()]
        assert words == [getattr(scene, head) for scene in some]
    assert labels["style"].tolist() == [0, HEADS["style"].index("gothic")] * 3
    with pytest.raises(ValueError, match="not in tuple"):
        labels_of(some, ["baroque"] * 6)


def test_rough_pictures_show_what_the_drawn_ones_did() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    some = scenes(16)
    pictures = to_tensor(np.stack([draw(scene) for scene in some]))
    before = pictures.clone()
    truth = labels_of(some, ["plain"] * len(some))
    right: dict[str, list[float]] = {head: [] for head in HEADS}
    judge = load_judge()
    for _ in range(5):
        rough = roughen(pictures, rng)
        assert rough.shape == pictures.shape
        with torch.no_grad():
            for head, logits in judge(rough).items():
                right[head].append((logits.argmax(-1) == truth[head]).float().mean().item())
    assert torch.equal(pictures, before)
    for head, shares in right.items():
        assert np.mean(shares) > 0.95, head  # 1 of all four


def test_a_round_trip_gives_the_pictures_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "WORK", BASE)
    monkeypatch.setattr(classifier, "ROUND_TRIPS", 2)
    pictures = np.stack([draw(scene) for scene in scenes(2)])[:, 32:96, 32:96]
    again = round_trips(pictures)
    assert again.dtype == np.uint8
    assert again.shape == pictures.shape
    difference = np.abs(again.astype(float) - pictures).mean()
    assert difference < 10 < np.abs(again.astype(float) - pictures[::-1]).mean()  # 7.3
