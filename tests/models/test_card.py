"""The card says which promise was missed, and nothing but the report is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.card import CLOSING, OPENING, Target, card, write_card
from runtime.errors import BrushletError

REPORT: dict[str, Any] = {
    "settings": {
        "captions": 200,
        "style_captions": 100,
        "sweep_captions": 50,
        "steps": 25,
        "scheduler": "DDIM",
        "guidance_scale": 4.0,
    },
    "judge": {"drawn_scenes": 800, "accuracy": {"time": 0.995}},
    "loras": {
        "gothic": {
            "score_by_strength": {"0.0": 0.001, "1.0": 0.987},
            "content_at_1": {"time": 0.9, "ground": 0.875},
        }
    },
}


def test_a_value_that_only_just_reaches_is_met_and_a_lower_one_is_marked() -> None:
    targets = [Target("VAE, plain", 31.0, 31.0, "dB"), Target("objects", 0.89, 0.9)]
    lines = card(REPORT, targets, (0.0, 1.0)).splitlines()
    assert [target.met for target in targets] == [True, False]
    assert "| VAE, plain | 31.00 dB | >= 31.00 dB |" in lines
    assert "| objects | 0.89 | >= 0.90, **missed** |" in lines


def test_every_figure_of_a_style_is_said() -> None:
    text = card(REPORT, [], (0.0, 1.0))
    assert "- gothic: 0.00, 0.99" in text
    assert "- gothic: time 90.0%, ground 87.5%" in text
    assert text.endswith("The judge on 800 held-out drawn scenes: time 99.5%.")
    for said in ("200 captions", "(100 of them", "first 50", "25 DDIM steps, guidance 4,"):
        assert said in text


def test_what_stands_around_the_marks_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Model\n\n{OPENING}\nold\nfigures\n{CLOSING}\n\nLicence\n")
    for _ in range(2):
        write_card("new", path)
        assert path.read_text() == f"# Model\n\n{OPENING}\nnew\n{CLOSING}\n\nLicence\n"


@pytest.mark.parametrize("text", ["", OPENING, CLOSING, f"{CLOSING}\n{OPENING}"])
def test_without_its_marks_the_card_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(BrushletError, match="has lost the marks") as told:
        write_card("new", path)
    assert str(path) in str(told.value)
    assert path.read_text() == text
