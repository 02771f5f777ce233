from pathlib import Path

import numpy as np
import pytest
from onnx_ir.external_data import set_base_dir

from exporter import graphs
from exporter.bases import find_base
from exporter.merge import stored_weight
from exporter.parity import TOLERANCE, Runner, compare
from exporter.progress import silent
from exporter.whole import base_bundle, whole_unet, without_slots
from runtime.bundle import Bundle
from runtime.golden import golden_feeds
from runtime.packs import stack


def test_without_slots_it_is_the_base_with_its_weights(dist: Path) -> None:
    bundle = Bundle.open(dist)
    table = bundle.slot_table()
    unet = whole_unet(bundle)
    feeds, _ = golden_feeds(bundle, bundle.manifest.variant("base"))
    (dist / "whole.onnx").write_bytes(unet)
    expected = Runner(dist / "whole.onnx")(feeds | stack([], table))

    weights = {
        slot.name: stored_weight(dist, slot.weight).astype(np.float32) for slot in table.slots
    }
    for changed in ({}, weights):
        model = without_slots(unet, table, changed)
        names = [value.name for value in model.graph.inputs]
        assert names == ["sample", "timestep", "encoder_hidden_states"]
        (dist / "bare.onnx").write_bytes(graphs.serialize(model))
        output = Runner(dist / "bare.onnx")(feeds)
        assert compare("bare", output, expected, TOLERANCE["fp32"]).passed


def test_replaced_weights_stay_fp32(bundle: Bundle) -> None:
    table = bundle.slot_table()
    slot = table.slots[0]
    fine = np.full(slot.weight.shape, 1 + 2**-20, np.float32)
    model = without_slots(whole_unet(bundle), table, {slot.name: fine})
    set_base_dir(model.graph, bundle.folder)
    stored = model.graph.initializers[f"{slot.name}.weight"].const_value
    assert stored is not None
    np.testing.assert_array_equal(stored.numpy(), fine)


def test_the_bundle_is_gone_afterwards(
    bundle: Bundle, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(base: object, out: Path, *_: object, **__: object) -> None:
        out.mkdir()
        (out / "weights.bin").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("exporter.whole.export", interrupted)
    with (
        pytest.raises(KeyboardInterrupt),
        base_bundle(find_base(str(tiny_base)), tmp_path, silent, None),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
