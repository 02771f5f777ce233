"""`FORMAT=adapter`: a style as onnxruntime's own `.onnx_adapter`, for native callers.

    session = onnxruntime.InferenceSession("unet.onnx")
    adapter = onnxruntime.LoraAdapter(); adapter.Load("style.onnx_adapter")
    options = onnxruntime.RunOptions(); options.add_active_adapter(adapter)
    session.run(None, {"sample": ..., "timestep": ..., "encoder_hidden_states": ...}, options)

What a style changes in the text encoder is a second adapter, `style.text_encoder.onnx_adapter`, for
`text_encoder.onnx`.

onnxruntime feeds an adapter's tensors to inputs that have an initializer of the same name, their
default: so these graphs differ from a bundle's, which onnxruntime-web would refuse that way.
An adapter carries no strength, so it is folded into B.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from exporter import NAME, graphs
from exporter.bases import Base
from exporter.blend import Mixture
from exporter.details import Details
from exporter.fitting import check_fit, lora_notes, telling
from exporter.folder import RECEIPT, Receipt, listing, read_receipt, replacing_folder
from exporter.merge import merged, stored_weight
from exporter.parity import TOLERANCE, Parity, Runner, compare, gate
from exporter.planned import planned_slots
from exporter.progress import Step
from exporter.report import Report
from exporter.slots import SlotSet
from exporter.staging import dump
from exporter.whole import base_bundle, whole_unet, without_slots
from runtime.digests import altered_files, base_hash
from runtime.files import link_or_copy
from runtime.lora import LowRank
from runtime.manifest import BASE_VARIANT, SlotTable, SlottedModel
from runtime.noise import Generator
from runtime.packs import make_pack
from runtime.tensors import Array, Float32

SUFFIX = ".onnx_adapter"
_SUFFIXES: dict[SlottedModel, str] = {"unet": SUFFIX, "text_encoder": f".text_encoder{SUFFIX}"}
_SLOTS: dict[SlottedModel, str] = {"unet": "slots.json", "text_encoder": "slots.text_encoder.json"}
_CHECK = "check.onnx"
_VERSION = 1  # of adapter and model, which onnxruntime stores and does not compare
_SIZE = (31, 18)  # latent pixels of the check; not square, and not to be halved
_TOKENS = 77


def export_adapter(
    base: Base,
    out: Path,
    step: Step,
    mixture: Mixture,
    details: Details,
    strength: float = 1.0,
    slot_set: SlotSet | None = None,
    fresh: bool = False,
) -> Report:
    """Writes `<style>.onnx_adapter` into `out`, `<style>.text_encoder.onnx_adapter` where the style
    changes that, and the graphs they are for if these are not there.

    Adapters that are there stay if they are of the same base and fit the graphs' slots. On any
    error, and on an interrupt, `out` stays what it was.

    Args:
        base: the pipeline.
        out: the folder; it may hold earlier exports of this format.
        step: shows the progress.
        mixture: the LoRAs, each of an exact low-rank form.
        details: how the style is called.
        strength: folded into the adapter, times each file's weight.
        slot_set: where LoRAs can attach; default: as the graph in `out` has it, or `transformer`.
        fresh: exports the graph again.

    Raises:
        BadFile, UnmatchedKeys, WrongBase: of the input files.
        ParityMissed: a graph with the adapter is not the graph with merged weights.
        BrushletError: `out` holds something else, or cannot be written.
    """
    with step("base model", 1):
        digest = base_hash(base.folder)
    with replacing_folder(out, "adapter") as folder:
        old = read_receipt(out)
        kept = None if fresh else _reusable(out, old, digest, slot_set)
        measured: list[Parity] = []
        if kept:
            for ref in kept.files:
                link_or_copy(out / ref.url, folder / ref.url)
        else:
            slot_set = slot_set or _slot_set(out) or "transformer"
            with step("LoRA and base", 1):
                check_fit(mixture, base.folder, base.name, digest, "external", slot_set)
            measured += _write_graphs(base, folder, step, slot_set)
            _keep_adapters(out, old, digest, folder)
        tables = _tables(folder)
        with step("adapter", 1):
            every = partial(planned_slots, base.folder, "full")
            with telling(mixture, base.name, digest, tables, every):
                tensors = _tensors(mixture, tables, digest, base.name, details.name, strength)
            paths = {}
            for table in tables:
                path = folder / f"{details.name}{_SUFFIXES[table.model]}"
                path.unlink(missing_ok=True)  # a hard link of the one in `out`
                if tensors[table.model]:
                    _write_adapter(path, tensors[table.model])
                    paths[table.model] = path
        for table in tables:
            if table.model in paths:
                path = paths[table.model]
                measured += gate(_measure(folder, table, tensors[table.model], path, step))
        lines = {line.what: line for line in kept.parity} if kept else {}
        lines |= {item.what: item.measurement() for item in measured}
        with step("checksums", 1):
            files = listing(folder)
        receipt = Receipt(
            format="adapter",
            exporter=NAME,
            base_name=base.name,
            base_hash=digest,
            files=files,
            parity=list(lines.values()),
        )
        (folder / RECEIPT).write_bytes(dump(receipt))
    before = {(ref.url, ref.sha256) for ref in old.files} if old else set()
    written = [ref for ref in receipt.files if (ref.url, ref.sha256) not in before]
    notes = list(lora_notes(mixture, base.name, digest))
    if kept:
        notes.insert(0, "The graphs were there already and were not exported again.")
    now = {ref.url for ref in receipt.files}
    if gone := [url for url, _ in sorted(before) if url.endswith(SUFFIX) and url not in now]:
        notes.append(
            f"These adapters were of another base, or damaged, and are gone: {', '.join(gone)}."
        )
    return Report(written, measured, notes)


def _reusable(
    out: Path, old: Receipt | None, digest: str, slot_set: SlotSet | None
) -> Receipt | None:
    """The receipt in `out` if its graph is the wanted one, and whole."""
    if old is None or (old.base_hash, old.exporter) != (digest, NAME):
        return None
    names = {ref.url for ref in old.files}
    if altered_files(out, old.files) or not names >= set(_SLOTS.values()):
        return None
    return old if slot_set in (None, _tables(out)[0].slot_set) else None


def _slot_set(folder: Path) -> SlotSet | None:
    """Of the graph in a folder; None where there is none that can be read."""
    try:
        return _tables(folder)[0].slot_set
    except (OSError, ValueError):
        return None


def _tables(folder: Path) -> list[SlotTable]:
    """The slots of UNet and text encoder."""
    files = (folder / name for name in _SLOTS.values())
    return [SlotTable.model_validate_json(path.read_bytes()) for path in files]


def _write_graphs(base: Base, folder: Path, step: Step, slot_set: SlotSet | None) -> list[Parity]:
    """Writes graphs, shards and slots; returns what the export of the base measured of them."""
    with base_bundle(base, folder, step, slot_set) as (bundle, exported):
        text_encoder = bundle.path(bundle.manifest.text_encoder.graph.file).read_bytes()
        shards = set()
        wholes = whole_unet(bundle), text_encoder
        for table, graph in zip(bundle.slot_tables(), wholes, strict=True):
            (folder / f"{table.model}.onnx").write_bytes(_optional(graph, table))
            (folder / _SLOTS[table.model]).write_bytes(dump(table))
            shards |= set(graphs.shards_of(graphs.parse(graph)))
        for shard in shards:
            (bundle.folder / shard).rename(folder / shard)
    measured_as = f"{BASE_VARIANT} fp32 fused", "text encoder"
    return [item for item in exported.parity if item.what.startswith(measured_as)]


def _keep_adapters(out: Path, old: Receipt | None, digest: str, folder: Path) -> None:
    """Takes over the adapters of the same base whose slots the new graph has."""
    if old is None or old.base_hash != digest:
        return
    slots = [slot for table in _tables(folder) for slot in table.slots]
    inputs = {name for slot in slots for name in (slot.input_a, slot.input_b)}
    adapters = [ref for ref in old.files if ref.url.endswith(SUFFIX)]
    damaged = altered_files(out, adapters)
    for ref in adapters:
        if ref.url not in damaged and _parameters(out / ref.url) <= inputs:
            link_or_copy(out / ref.url, folder / ref.url)


def _parameters(path: Path) -> set[str]:
    return set(onnxruntime.AdapterFormat.read_adapter(str(path)).get_parameters())


def _optional(graph: bytes, table: SlotTable) -> bytes:
    """Gives the LoRA inputs rank-1 zeros as defaults, and each slot a rank of its own.

    An adapter need not touch every slot, and onnxruntime shares memory between values whose
    symbolic sizes have one name.
    """
    model = onnx.ModelProto.FromString(graph)
    inputs = {value.name: value for value in model.graph.input}
    for number, slot in enumerate(table.slots):
        for name, shape, axis in (
            (slot.input_a, (slot.in_width, 1), 1),
            (slot.input_b, (1, slot.out_width), 0),
        ):
            zeros = onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name)
            model.graph.initializer.append(zeros)
            inputs[name].type.tensor_type.shape.dim[axis].dim_param = f"rank_{number}"
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _required(graph: bytes, table: SlotTable) -> bytes:
    """The graph as `_optional` got it, but for the names of ranks."""
    model = onnx.ModelProto.FromString(graph)
    names = {name for slot in table.slots for name in (slot.input_a, slot.input_b)}
    kept = [value for value in model.graph.initializer if value.name not in names]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _tensors(
    mixture: Mixture,
    tables: Sequence[SlotTable],
    digest: str,
    base_name: str,
    name: str,
    strength: float,
) -> dict[SlottedModel, dict[str, Float32]]:
    """A pack's tensors in fp32, by model and as its graph takes them, the strength in B."""
    pack = make_pack(
        mixture.stacked(*tables),
        *tables,
        base_hash=digest,
        base_name=base_name,
        name=name,
        title=name,
    )
    found: dict[SlottedModel, dict[str, Float32]] = {}
    for table in tables:
        tensors = found[table.model] = {}
        for slot in table.slots:
            if slot.input_a in pack.tensors:
                tensors[slot.input_a] = pack.tensors[slot.input_a].astype(np.float32)
                B = pack.tensors[slot.input_b].astype(np.float32)
                tensors[slot.input_b] = B * np.float32(strength)
    return found


def _write_adapter(path: Path, tensors: Mapping[str, Float32]) -> None:
    adapter = onnxruntime.AdapterFormat()
    adapter.set_adapter_version(_VERSION)
    adapter.set_model_version(_VERSION)
    values = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in tensors.items()
    }
    adapter.set_parameters(values)
    try:
        adapter.export_adapter(str(path))
    except RuntimeError as error:
        # onnxruntime does not say why it "Failed to write :97160 bytes"; the system does.
        if size := re.search(r"Failed to write :(\d+) bytes", str(error)):
            path.write_bytes(bytes(int(size[1])))
        raise


def _measure(
    folder: Path, table: SlotTable, tensors: Mapping[str, Float32], path: Path, step: Step
) -> list[Parity]:
    """The graph with the adapter and without, against graphs without slots, weights merged."""
    graph = folder / f"{table.model}.onnx"
    whole = graph.read_bytes()
    (session,) = Runner(graph).sessions
    feeds = _feeds(session, table.model)
    options = onnxruntime.RunOptions()
    adapter = onnxruntime.LoraAdapter()
    adapter.Load(str(path))
    options.add_active_adapter(adapter)
    weights: dict[str, Float32] = {}
    measured = []
    with step("parity", 2) as advance:
        for slot in table.slots:
            if slot.input_a in tensors:
                change = LowRank(tensors[slot.input_a], tensors[slot.input_b])
                weights[slot.name] = merged(stored_weight(folder, slot.weight), slot, change, 1.0)
        for what, changed, run_options in (
            (f"{path.name} = merged", weights, options),
            (f"no adapter = base, {table.model.replace('_', ' ')}", {}, None),
        ):
            model = without_slots(_required(whole, table), table, changed)
            (folder / _CHECK).write_bytes(graphs.serialize(model))
            reference = Runner(folder / _CHECK)(feeds)
            output = session.run(None, feeds, run_options)[0]
            measured.append(compare(what, output, reference, TOLERANCE["fp32"]))
            advance()
    (folder / _CHECK).unlink()
    return measured


def _feeds(session: onnxruntime.InferenceSession, model: SlottedModel) -> dict[str, Array]:
    """Noise, or tokens, for the inputs that have no default."""
    if model == "text_encoder":
        return {"input_ids": np.arange(_TOKENS)[None] * 5 % 256}
    sample, _, states = session.get_inputs()
    noise = Generator(0)
    return {
        "sample": noise.randn((1, sample.shape[1], *_SIZE)),
        "timestep": np.array([501], np.float32),
        "encoder_hidden_states": noise.randn((1, _TOKENS, states.shape[2])),
    }
