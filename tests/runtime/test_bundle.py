import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.errors import BadFile, BrushletError
from runtime.manifest import MANIFEST_NAME
from runtime.packs import stack


def test_every_file_but_the_manifest_is_named_once(bundle: Bundle, tiny_bundle: Path) -> None:
    on_disk = {path for path in tiny_bundle.rglob("*") if path.is_file()}
    named = [bundle.path(ref) for ref in bundle.files()]
    assert len(named) == len(set(named))
    assert on_disk - set(named) == {tiny_bundle / "manifest.json", tiny_bundle / "report.json"}


def test_verifying_reports_bytes_until_all_are_read(bundle: Bundle) -> None:
    seen: list[tuple[int, int]] = []
    bundle.verify(lambda done, total: seen.append((done, total)))
    total = sum(ref.bytes for ref in bundle.files())
    assert seen[-1] == (total, total)
    assert sorted(seen) == seen


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda manifest: manifest["shards"].popitem(), "shards that are not listed: weights-"),
        (lambda manifest: manifest["unet"].pop(0), "no UNet variant called base"),
        (lambda manifest: manifest["unet"].pop(1), "no UNet variant called wiggle-merged"),
        (lambda manifest: manifest["styles"][0].pop("pack"), "neither pack nor variant: wiggle"),
    ],
)
def test_a_manifest_that_names_what_is_not_there(
    damage: Callable[[dict[str, Any]], object], said: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    manifest = json.loads((tiny_bundle / MANIFEST_NAME).read_bytes())
    damage(manifest)
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(BadFile, match=said):
        Bundle.open(tmp_path)


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
    no_lora = stack([], bundle.text_slot_table())
    feeds = {"input_ids": np.full((1, 77), 5, np.int64), **no_lora}
    (states,) = session.run(["last_hidden_state"], feeds)
    assert states.shape == (1, 77, 32)


def test_missing_providers_are_told(bundle: Bundle) -> None:
    with pytest.raises(BrushletError, match="this onnxruntime has no webgpu"):
        bundle.session(bundle.manifest.text_encoder.graph, ["webgpu"])
    variant = bundle.manifest.variant("base")
    fp16 = [graph for graph in variant.graphs if graph.compute == "fp16"]
    with pytest.raises(BrushletError, match="no graph for the cpu execution provider"):
        bundle.graph(variant.model_copy(update={"graphs": fp16}), "cpu")
