"""`DTYPE=`: bundles whose UNet is stored in another form than fp16."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from diffusers import UNet2DConditionModel
from onnx import TensorProto
from onnx_ir.external_data import set_base_dir

from exporter.export import StyleRequest, export
from exporter.golden import reference_step
from exporter.merge import Originals, merged, stored_weight
from exporter.parity import TOLERANCE, compare
from exporter.pipeline import load_unet
from exporter.progress import silent
from exporter.quantisation import BITS, Packed, rounded, unpack
from exporter.slotting import is_projection
from exporter.variants import whole_graph
from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.golden import check_golden
from runtime.lora import match_adapters, read_lora
from runtime.manifest import Dtype
from runtime.packs import stack
from runtime.pipeline import Pipeline
from runtime.tensors import Array
from runtime.unet import UNet
from tests.conftest import MERGED_STRENGTH
from tests.exporter.test_export import command
from tests.exporter.test_graphs import unet
from tests.exporter.test_staging import listing
from tests.exporter.test_unet import random_lora, step_inputs

Stored = Callable[[Dtype], Path]
QUANTISED: tuple[Dtype, ...] = ("q8", "q4")
DTYPES: tuple[Dtype, ...] = ("fp32", *QUANTISED)


def open_stored(stored_bundle: Stored, dtype: Dtype) -> Bundle:
    bundle = Bundle.open(stored_bundle(dtype))
    assert bundle.manifest.storage.dtype == dtype
    return bundle


def initializer(graph: ir.Graph, name: str) -> Array:
    tensor = graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


@pytest.mark.parametrize("dtype", QUANTISED)
def test_every_projection_is_quantised_and_nothing_else(
    dtype: Dtype, stored_bundle: Stored, tiny_unet: UNet2DConditionModel
) -> None:
    bundle = open_stored(stored_bundle, dtype)
    modules = dict(tiny_unet.named_modules())
    projections = {path for path, module in modules.items() if is_projection(path, module)}
    convolutions = {
        path
        for path, module in modules.items()
        if isinstance(module, torch.nn.Conv2d) and path not in projections
    }
    for compute in ("fp32", "fp16"):
        for attention in ("fused", "plain"):
            graph = unet(bundle, compute, attention).graph
            types = {tensor.name: tensor.data_type for tensor in graph.initializer}
            products = [node for node in graph.node if node.op_type == "MatMulNBits"]
            assert {a.i for n in products for a in n.attribute if a.name == "bits"} == {BITS[dtype]}
            codes = {node.input[1] for node in products}
            assert {types[name] for name in codes} == {TensorProto.UINT8}
            assert len(codes) == len(products) == len(projections)
            slots = {slot.name for slot in bundle.slot_table().slots}
            assert {f"{path}.weight" for path in slots} <= codes
            kinds = Counter(node.op_type for node in graph.node)
            assert kinds["Conv"] == len(convolutions)
            assert kinds["Gemm"] == 0  # a LoRA stays beside the weight
            for path in convolutions:  # but for those too small to lie in a shard
                assert types.get(f"{path}.weight", TensorProto.FLOAT16) == TensorProto.FLOAT16


def test_fp32_is_stored_as_it_is_and_computed_in_nothing_less(stored_bundle: Stored) -> None:
    bundle = open_stored(stored_bundle, "fp32")
    for variant in bundle.manifest.unet:
        assert [graph.compute for graph in variant.graphs] == ["fp32", "fp32"]
    graph = unet(bundle, "fp32", "fused").graph
    assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in graph.initializer}
    assert {slot.weight.dtype for slot in bundle.slot_table().slots} == {"float32"}


def test_bytes_of_slot_weights(bundle: Bundle, stored_bundle: Stored) -> None:
    """A scale of two bytes for each block of 32; on the tiny model also padding to 64 bytes."""

    def stored_bytes(bundle: Bundle) -> int:
        slots = bundle.slot_table().slots
        return sum(
            bundle.manifest.shards[shard].bytes for shard in {slot.weight.shard for slot in slots}
        )

    half = stored_bytes(bundle)
    sizes: tuple[tuple[Dtype, float], ...] = (("fp32", 2.0), ("q8", 17 / 32), ("q4", 9 / 32))
    for dtype, share in sizes:
        found = stored_bytes(open_stored(stored_bundle, dtype))
        assert share * half * 0.99 <= found <= share * half + 64 * 2 * 70


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_slot_table_says_what_pytorch_computes_with(
    dtype: Dtype, stored_bundle: Stored, tiny_base: Path
) -> None:
    model, folder = load_unet(tiny_base, dtype), stored_bundle(dtype)
    for slot in open_stored(stored_bundle, dtype).slot_table().slots:
        weight = model.get_submodule(slot.name).weight.flatten(1).T.numpy()
        np.testing.assert_array_equal(stored_weight(folder, slot.weight), weight)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_graph_is_pytorch_on_the_stored_weights(
    dtype: Dtype, stored_bundle: Stored, tiny_base: Path
) -> None:
    bundle, model = open_stored(stored_bundle, dtype), load_unet(tiny_base, dtype)
    variant = bundle.manifest.variant("base")
    for size, rank, timestep in (((2, 8, 8, 77), 1, 981.0), ((1, 16, 6, 20), 17, 1.0)):
        feeds, lora = step_inputs(*size, timestep), random_lora(bundle, rank)
        expected = reference_step(model, feeds, lora)
        for graph in variant.graphs:
            found = UNet(bundle, variant, graph=graph).step(feeds | lora)
            parity = compare(dtype, found, expected, TOLERANCE[graph.compute])
            assert parity.passed, (graph.compute, graph.attention, parity)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_runtime_draws_with_it(dtype: Dtype, stored_bundle: Stored) -> None:
    bundle = open_stored(stored_bundle, dtype)
    for variant in bundle.manifest.unet:
        assert check_golden(bundle, UNet(bundle, variant)) <= TOLERANCE["fp32"]
    settings = {"seed": 3, "steps": 2, "guidance_scale": 4.0, "sampler": "ddim"}
    plain, *styled = [
        Pipeline(bundle).generate("a castle", styles=styles, **settings).pixels.tobytes()
        for styles in ({}, {"wiggle": 0.8}, {"wiggle-merged": MERGED_STRENGTH})
    ]
    assert plain not in styled


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_merge_starts_from_the_original_weights_and_rounds_once(
    dtype: Dtype, stored_bundle: Stored, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    bundle = open_stored(stored_bundle, dtype)
    table = bundle.slot_table()
    adapters = match_adapters(read_lora(tiny_loras["wiggle"]), table)
    slots = {slot.name: slot for slot in table.slots}
    variant = bundle.manifest.variant("wiggle-merged")
    for graph in variant.graphs:
        held = whole_graph(bundle.folder, graph).graph
        set_base_dir(held, bundle.folder)
        for slot in slots.values():
            weight = Originals(tiny_base, "unet").weight(slot)
            expected = merged(weight, slot, adapters[slot.name], MERGED_STRENGTH)
            found = initializer(held, f"{slot.name}.weight")
            if dtype in BITS:
                packed = Packed(found, initializer(held, f"{slot.name}.scales"))
                found = unpack(packed, BITS[dtype], slot.in_width)
                expected = rounded(expected, BITS[dtype])
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_merge_stores_changed_shards_only(
    dtype: Dtype, stored_bundle: Stored, tiny_base: Path, tiny_loras: dict[str, Path], dist: Path
) -> None:
    bundle = open_stored(stored_bundle, dtype)
    base, variant = bundle.manifest.variant("base"), bundle.manifest.variant("wiggle-merged")
    changed = {slot.weight.shard for slot in bundle.slot_table().slots}
    for a, b in zip(base.graphs, variant.graphs, strict=True):
        assert set(a.shards) - set(b.shards) == changed
        assert a.providers == b.providers
    # Merged at 0 nothing changes, so nothing is stored.
    before = set(listing(bundle.folder))
    out = dist.with_name("zero")
    export(tiny_base, out, silent, dtype=dtype)
    zero = StyleRequest(tiny_loras["wiggle"], "merged", name="zero", strength=0.0)
    outcome = export(tiny_base, out, silent, zero)
    assert not [ref.url for ref in outcome.written if ref.url.startswith("weights-")]
    assert {name for name in listing(out) if name.startswith("weights-")} <= before


def test_another_dtype_exports_the_base_again_and_keeps_the_packs(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    again = StyleRequest(tiny_loras["wobble"], "external")
    outcome = export(tiny_base, dist, silent, again, dtype="q8")
    assert any("stored as fp16" in note and "as q8" in note for note in outcome.notes)
    assert any("from the one with fp16 weights" in note for note in outcome.notes)
    assert any("wiggle-merged" in note for note in outcome.notes)  # of the old weights
    bundle = Bundle.open(dist)
    bundle.verify()
    assert [style.name for style in bundle.manifest.styles] == ["wiggle", "wobble"]
    storage = bundle.manifest.storage
    assert storage.error is not None
    assert TOLERANCE["fp32"] < storage.error < 0.02
    feeds = step_inputs(2, 8, 8, 77, 501.0)
    lora = stack([(bundle.style_pack("wiggle"), 0.7)], bundle.slot_table())
    found = UNet(bundle, bundle.manifest.variant("base")).step(feeds | lora)
    expected = reference_step(load_unet(tiny_base, "q8"), feeds, lora)
    assert compare("wiggle", found, expected, TOLERANCE["fp32"]).passed
    # Where none is named it stays as it is.
    outcome = export(tiny_base, dist, silent, again)
    assert outcome.notes == ["The base model was there already and was not exported again."]
    assert outcome.manifest.storage == storage


def test_convolution_slots_stay_in_floating_point(tiny_base: Path, tmp_path: Path) -> None:
    export(tiny_base, tmp_path / "dist", silent, slot_set="full", dtype="q4")
    bundle = Bundle.open(tmp_path / "dist")
    for slot in bundle.slot_table().slots:
        assert (slot.weight.dtype == "uint8") == slot.weight.transposed
    feeds, lora = step_inputs(1, 16, 6, 20, 501.0), random_lora(bundle, 5)
    expected = reference_step(load_unet(tiny_base, "q4"), feeds, lora)
    variant = bundle.manifest.variant("base")
    for graph in variant.graphs:
        found = UNet(bundle, variant, graph=graph).step(feeds | lora)
        assert compare("full", found, expected, TOLERANCE[graph.compute]).passed


@pytest.mark.parametrize("form", ["optimum", "adapter"])
def test_formats_without_a_choice_refuse(form: str, dist: Path) -> None:
    before = listing(dist)
    done = command("export", "--lora", "miyazaki", "--format", form, "--dtype", "q8", "--out", dist)
    assert done.returncode == BrushletError.exit_code
    assert f"FORMAT={form} stores weights as fp16" in done.stderr
    assert "Traceback" not in done.stderr
    assert listing(dist) == before
