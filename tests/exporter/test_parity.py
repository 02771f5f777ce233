import numpy as np
import pytest

from exporter.parity import compare, gate, worst
from runtime.errors import ParityMissed

REFERENCE = np.array([1.0, -4.0, 2.0], np.float32)


def test_the_error_is_over_the_largest_reference_value() -> None:
    parity = compare("step", REFERENCE + np.float32(0.002), REFERENCE, 1e-3)
    assert parity.error == pytest.approx(0.0005, rel=1e-3)
    assert parity.cosine == pytest.approx(1, abs=1e-6)
    assert gate([parity]) == [parity]


@pytest.mark.parametrize(
    "output",
    [REFERENCE * 1.01, REFERENCE * np.nan, np.zeros_like(REFERENCE), -REFERENCE],
    ids=["too far", "NaN", "nothing", "opposite"],
)
def test_a_miss_names_what_and_how_far(output: np.ndarray) -> None:
    good = compare("good graph", REFERENCE, REFERENCE, 1e-5)
    bad = compare("bad graph", output, REFERENCE, 1e-5)
    with pytest.raises(ParityMissed, match=r"bad graph: error .* \(allowed 1e-05\)") as caught:
        gate([good, bad])
    assert "good graph" not in str(caught.value)


def test_the_direction_counts_too() -> None:
    random = np.random.default_rng(0).normal(size=1000)
    spiked = np.append(random * 1e-3, 1.0)
    noisy = np.append(random * 2e-3, 1.0)
    parity = compare("spike", noisy, spiked, 5e-3)
    assert parity.error < 5e-3
    assert not parity.passed


def test_nothing_is_near_nothing_alone() -> None:
    """The part of a LoRA that kohya trained at a rate of 0 adds nothing, and its pack neither."""
    nothing = np.zeros(3, np.float32)
    assert compare("quiet", nothing, nothing, 1e-5).passed
    assert not compare("loud", REFERENCE * 1e-9, nothing, 1e-5).passed


def test_the_worst_of_several_counts() -> None:
    good = compare("good", REFERENCE, REFERENCE, 1e-3)
    far = compare("far", REFERENCE * np.float32(1.01), REFERENCE, 1e-3)
    turned = compare("turned", REFERENCE[::-1], REFERENCE, 1e-3)
    both = worst("both", [good, far])
    assert (both.error, both.cosine) == (far.error, min(good.cosine, far.cosine))
    assert worst("all", [far, turned, good]).cosine == turned.cosine
    unknown = compare("unknown", REFERENCE * np.nan, REFERENCE, 1e-3)
    assert not worst("one", [good, unknown, good]).passed
