from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.errors import BrushletError


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


def test_every_file_but_the_manifest_is_named_once(bundle: Bundle, tiny_bundle: Path) -> None:
    on_disk = {path for path in tiny_bundle.rglob("*") if path.is_file()}
    named = [bundle.path(ref) for ref in bundle.files()]
    assert len(named) == len(set(named))
    assert on_disk - set(named) == {tiny_bundle / "manifest.json"}


def test_verifying_reports_bytes_until_all_are_read(bundle: Bundle) -> None:
    seen: list[tuple[int, int]] = []
    bundle.verify(lambda done, total: seen.append((done, total)))
    total = sum(ref.bytes for ref in bundle.files())
    assert seen[-1] == (total, total)
    assert sorted(seen) == seen


def test_a_style_pack_fits_the_slots(bundle: Bundle) -> None:
    pack = bundle.style_pack("wobble")
    assert pack.metadata.rank == 2
    inputs = {name for slot in bundle.slot_table().slots for name in (slot.input_a, slot.input_b)}
    assert set(pack.tensors) < inputs


def test_a_merged_style_has_no_pack(bundle: Bundle) -> None:
    with pytest.raises(BrushletError, match=r"merged and has no pack.*MODE=external"):
        bundle.style_pack("wiggle-merged")


def test_samplers_have_a_table_for_each_number_of_steps(bundle: Bundle) -> None:
    for sampler in bundle.manifest.samplers:
        table = bundle.sampler(sampler.name, sampler.default_steps)
        assert len(table.steps) >= sampler.default_steps
        assert bundle.sampler(sampler.name, sampler.max_steps)


def test_a_session_runs(bundle: Bundle) -> None:
    session = bundle.session(bundle.manifest.text_encoder.graph)
    (states,) = session.run(None, {"input_ids": np.full((1, 77), 5, np.int64)})
    assert states.shape == (1, 77, 32)


def test_missing_providers_are_told(bundle: Bundle) -> None:
    with pytest.raises(BrushletError, match="this onnxruntime has no webgpu"):
        bundle.session(bundle.manifest.text_encoder.graph, ["webgpu"])
    variant = bundle.manifest.variant("base")
    fp16 = [graph for graph in variant.graphs if graph.compute == "fp16"]
    with pytest.raises(BrushletError, match="no graph for the cpu execution provider"):
        bundle.graph(variant.model_copy(update={"graphs": fp16}), "cpu")
