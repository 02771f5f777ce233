from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.styles import Strengths, choose_styles
from tests.conftest import MERGED_STRENGTH


@pytest.fixture(scope="module")
def spoken(text_bundle: Path) -> Bundle:
    return Bundle.open(text_bundle)


def test_one_number_is_for_both_models_and_two_are_their_own(spoken: Bundle) -> None:
    one = choose_styles(spoken, {"accent": 0.5})
    both = choose_styles(spoken, {"accent": Strengths(unet=0.5, te=0.25)})
    for name, array in one.unet_inputs().items():
        np.testing.assert_array_equal(both.unet_inputs()[name], array)
    for name, array in one.text_inputs().items():
        factor = 0.5 if name.endswith("lora_B") else 1
        np.testing.assert_array_equal(both.text_inputs()[name], factor * array)


@pytest.mark.parametrize(
    ("strengths", "unet", "text"),
    [(Strengths(0, 1), False, True), (Strengths(1, 0), True, False), (0, False, False)],
)
def test_a_model_can_be_left_out(
    strengths: float | Strengths, unet: bool, text: bool, spoken: Bundle
) -> None:
    plan = choose_styles(spoken, {"accent": strengths})
    assert any(array.any() for array in plan.unet_inputs().values()) == unet
    assert any(array.any() for array in plan.text_inputs().values()) == text


def test_a_style_costs_no_rank_where_it_changes_nothing(spoken: Bundle) -> None:
    plan = choose_styles(spoken, {"speech": 1, "wobble": 1})
    ranks = {array.shape[0] for name, array in plan.unet_inputs().items() if name.endswith("B")}
    assert ranks == {2}
    ranks = {array.shape[0] for name, array in plan.text_inputs().items() if name.endswith("B")}
    assert ranks == {4}


def test_a_merged_style_brings_its_own_models(spoken: Bundle) -> None:
    plan = choose_styles(spoken, {"accent-merged": MERGED_STRENGTH})
    assert plan.variant == "accent-merged"
    assert plan.unet_inputs() == plan.text_inputs() == {}


@pytest.mark.parametrize(
    ("styles", "words"),
    [
        ({"nobody": 1}, "no style 'nobody'"),
        ({"accent-merged": Strengths(MERGED_STRENGTH, 0)}, "merged at the strength 0.8"),
        ({"accent-merged": MERGED_STRENGTH, "wobble": 1}, "merged at the strength 0.8"),
    ],
)
def test_what_cannot_be_chosen_is_told(
    styles: dict[str, float | Strengths], words: str, spoken: Bundle
) -> None:
    with pytest.raises(BrushletError, match=words):
        choose_styles(spoken, styles)


@pytest.mark.parametrize("te", [float("nan"), float("inf"), 1e300])
def test_a_strength_is_a_number(te: float, spoken: Bundle) -> None:
    plan = choose_styles(spoken, {"accent": Strengths(1, te)})
    with pytest.raises(BrushletError, match=r"style accent: the strength .* is no number"):
        plan.text_inputs()
