import math
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.shares import change_norm, shares
from runtime.styles import Strengths


def test_the_norm_is_that_of_the_whole_change(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    pack, table = bundle.style_pack("wiggle"), bundle.slot_table()
    changes = [
        pack.tensors[slot.input_a].astype(float) @ pack.tensors[slot.input_b].astype(float)
        for slot in table.slots
        if slot.input_a in pack.tensors
    ]
    expected = np.linalg.norm(np.concatenate([change.ravel() for change in changes]))
    assert change_norm(pack, table) == pytest.approx(expected, rel=1e-9)
    assert change_norm(pack, bundle.text_slot_table()) == 0


def test_shares_follow_the_strengths(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    table = bundle.slot_table()
    wiggle, wobble = (change_norm(bundle.style_pack(n), table) for n in ("wiggle", "wobble"))
    found = shares(bundle, {"wiggle": -0.5, "wobble": 1.5})
    total = 0.5 * wiggle + 1.5 * wobble
    assert found == pytest.approx({"wiggle": 0.5 * wiggle / total, "wobble": 1.5 * wobble / total})
    assert shares(bundle, {"wiggle": 0.0, "wobble": 1.0}) == {"wiggle": 0.0, "wobble": 1.0}
    assert shares(bundle, {"wiggle": 0.0}) == {"wiggle": 0.0}
    assert shares(bundle, {"wiggle-merged": 0.8}) == {"wiggle-merged": 1.0}


def test_a_style_counts_with_both_models(text_bundle: Path) -> None:
    bundle = Bundle.open(text_bundle)
    tables, accent = bundle.slot_tables(), bundle.style_pack("accent")
    unet, te = (change_norm(accent, table) for table in tables)
    speech = change_norm(bundle.style_pack("speech"), tables[1])
    norm = math.hypot(0.8 * unet, 0.3 * te)
    found = shares(bundle, {"accent": Strengths(0.8, 0.3), "speech": Strengths(0.8, 0.0)})
    assert found == {"accent": 1.0, "speech": 0.0}
    found = shares(bundle, {"accent": Strengths(0.8, 0.3), "speech": 2.0})
    assert found["accent"] == pytest.approx(norm / (norm + 2 * speech))
