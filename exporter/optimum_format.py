"""`FORMAT=optimum`: a pipeline's folder as Optimum writes it, with LoRAs merged or the plain base.

`optimum.onnxruntime.ORTStableDiffusionPipeline.from_pretrained(OUT)` loads it unchanged. Graphs are
the bundle's own. Weights lie beside each as `model.onnx_data`: those that a LoRA changed in fp32,
the others in fp16 as a bundle stores them, widened when a session is created.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.external_data import set_base_dir

from exporter import NAME, graphs
from exporter.bases import Base
from exporter.blend import Mixture
from exporter.fitting import check_fit, lora_notes
from exporter.folder import RECEIPT, Receipt, listing, replacing_folder
from exporter.golden import golden_inputs, reference_step
from exporter.merge import Originals, merged, merged_bias
from exporter.parity import TOLERANCE, Parity, Runner, compare, gate
from exporter.parts import OUTPUTS, part_reference
from exporter.pipeline import fill, fill_biases, load_pipeline
from exporter.progress import Step, silent
from exporter.report import Report
from exporter.slots import SlotSet
from exporter.staging import dump
from exporter.text_encoder import LAST, named, text_reference
from exporter.whole import base_bundle, whole_unet, without_slots
from runtime.bundle import Bundle
from runtime.digests import base_hash
from runtime.manifest import Slot, SlotTable, SlottedModel
from runtime.tensors import Float32

_ALL: SlotSet = "full"  # LoRAs may change any layer, since no slot is left in the graph
_MODEL, _WEIGHTS = "model.onnx", "model.onnx_data"  # Optimum's names


@dataclass(frozen=True)
class Changed:
    """What LoRAs change in a model: slot name -> the slot and its merged weight; -> its bias."""

    weights: Mapping[str, tuple[Slot, Float32]]
    biases: Mapping[str, Float32]

    def fill(self, model: Any) -> None:
        """Puts them into a PyTorch model."""
        fill(model, self.weights)
        fill_biases(model, self.biases)


def export_optimum(
    base: Base,
    out: Path,
    step: Step,
    mixture: Mixture | None = None,
    strength: float = 1.0,
) -> Report:
    """Makes `out` the folder of a pipeline.

    On any error, and on an interrupt, `out` stays what it was.

    Args:
        base: the pipeline.
        out: the folder; it may hold an earlier export of this format, which is replaced.
        step: shows the progress.
        mixture: LoRAs to merge, of any kind; none: the plain base.
        strength: of the merge, times each file's weight.

    Raises:
        BadFile, UnmatchedKeys, WrongBase: of the input files.
        ParityMissed: a graph does not compute what PyTorch computes.
        BrushletError: `out` holds something else, or cannot be written.
    """
    with replacing_folder(out, "optimum") as folder:
        with step("LoRA and base", 1):
            digest = base_hash(base.folder)
            if mixture:
                check_fit(mixture, base.folder, base.name, digest, "merged", _ALL)
        with base_bundle(base, folder, step, _ALL) as (bundle, _):
            changed = _changed(bundle, base, mixture, strength, step)
            with step("Optimum's layout", len(OUTPUTS) + 2) as advance:
                _write_unet(bundle, changed["unet"], folder / "unet")
                advance()
                _write_text_encoder(bundle, changed["text_encoder"], folder / "text_encoder")
                advance()
                for name in OUTPUTS:
                    graph = getattr(bundle.manifest, name).graph
                    model = ir.load(bundle.path(graph.file))
                    if name == "vae_encoder" and _without_posterior(base.folder):
                        model.graph.outputs[0].name = "latent_sample"  # by which Optimum tells
                    _write(model, folder / name)
                    advance()
        with step("loading the pipeline", 1):
            pipeline = load_pipeline(base.folder)
            _write_configs(pipeline, folder)
            changed["unet"].fill(pipeline.unet)
            changed["text_encoder"].fill(named(pipeline.text_encoder))
        measured = gate(_measure(pipeline, folder, step))
        with step("checksums", 1):
            files = listing(folder)
        receipt = Receipt(
            format="optimum",
            exporter=NAME,
            base_name=base.name,
            base_hash=digest,
            files=files,
            parity=[item.measurement() for item in measured],
        )
        (folder / RECEIPT).write_bytes(dump(receipt))
    notes = list(lora_notes(mixture, base.name, digest))
    return Report(receipt.files, measured, notes)


def _changed(
    bundle: Bundle, base: Base, mixture: Mixture | None, strength: float, step: Step
) -> dict[SlottedModel, Changed]:
    tables = bundle.slot_tables()
    adapters = mixture.adapters(*tables) if mixture else {}
    found: dict[SlottedModel, Changed] = {}
    with (step if adapters else silent)("merging", len(adapters)) as advance:
        for table in tables:
            slots = {slot.name: slot for slot in table.slots if slot.name in adapters}
            weights, biases = {}, {}
            originals = Originals(base.folder, table.model)
            for slot in slots.values():
                adapter = adapters[slot.name]
                weights[slot.name] = slot, merged(originals.weight(slot), slot, adapter, strength)
                bias = merged_bias(originals, slot, adapter, strength)
                if bias is not None:
                    biases[slot.name] = bias
                advance()
            found[table.model] = Changed(weights, biases)
    return found


def _write_unet(bundle: Bundle, changed: Changed, folder: Path) -> None:
    model = _merged(whole_unet(bundle), bundle.slot_table(), changed)
    set_base_dir(model.graph, bundle.folder)
    _take_scalar_timestep(model.graph)
    _write(model, folder)


def _write_text_encoder(bundle: Bundle, changed: Changed, folder: Path) -> None:
    graph = bundle.path(bundle.manifest.text_encoder.graph.file).read_bytes()
    model = _merged(graph, bundle.text_slot_table(), changed)
    graphs.keep_outputs(model, [LAST])  # Optimum knows no others
    set_base_dir(model.graph, bundle.folder)
    _write(model, folder)


def _merged(graph: bytes, table: SlotTable, changed: Changed) -> ir.Model:
    weights = {name: weight for name, (_, weight) in changed.weights.items()}
    return without_slots(graph, table, weights, changed.biases)


def _without_posterior(base: Path) -> bool:
    """Whether the VAE's encoder gives latents, as TAESD's does, and not their mean and variance."""
    fields = json.loads((base / "vae" / "config.json").read_bytes())
    return bool(fields["_class_name"] == "AutoencoderTiny")


def _take_scalar_timestep(graph: ir.Graph) -> None:
    """`timestep []`, as Optimum's own graphs have it; ours has `[1]`."""
    value = next(value for value in graph.inputs if value.name == "timestep")
    shape = graphs.constant(graph, "timestep.shape", np.array([1], np.int64))
    reshape = ir.node("Reshape", [value, shape])
    ir.convenience.replace_all_uses_with(value, reshape.outputs[0])
    reshape.replace_input_with(0, value)
    value.shape = ir.Shape([])
    graph.insert_before(graph[0], reshape)


def _write(model: ir.Model, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    ir.save(model, folder / _MODEL, external_data=_WEIGHTS)


def _write_configs(pipeline: Any, folder: Path) -> None:
    """What `from_pretrained` reads beside the graphs, written by the libraries themselves."""
    pipeline.save_config(folder)
    index = folder / "model_index.json"
    fields = json.loads(index.read_bytes())
    fields["_class_name"] = _class_name(pipeline)
    index.write_text(json.dumps(fields, indent=2) + "\n")
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    pipeline.tokenizer.save_pretrained(folder / "tokenizer")
    pipeline.text_encoder.config.save_pretrained(folder / "text_encoder")
    pipeline.unet.save_config(folder / "unet")
    for part in ("vae_decoder", "vae_encoder"):
        pipeline.vae.save_config(folder / part)
    for path in folder.rglob("*.json"):
        fields = json.loads(path.read_bytes())
        if fields.pop("_name_or_path", None):  # of a folder on this machine
            path.write_text(json.dumps(fields, indent=2) + "\n")


def _class_name(pipeline: Any) -> str:
    """The pipeline that gives the UNet what it takes; a base is loaded as a plain one."""
    unet = pipeline.unet.config
    if unet.in_channels > pipeline.vae.config.latent_channels:
        return "StableDiffusionInpaintPipeline"
    if unet.time_cond_proj_dim:
        return "LatentConsistencyModelPipeline"
    return "StableDiffusionPipeline"


def _measure(pipeline: Any, folder: Path, step: Step) -> list[Parity]:
    """Every graph where it will lie, against PyTorch in fp32 with the same weights."""
    levels = golden_inputs(pipeline.unet.config, pipeline.scheduler.config["num_train_timesteps"])
    measured = []
    with step("parity", len(levels) + len(OUTPUTS) + 1) as advance:
        run = Runner(folder / "unet" / _MODEL)
        for level, feeds in levels.items():
            output = run({**feeds, "timestep": feeds["timestep"].reshape(())})
            reference = reference_step(pipeline.unet, feeds)
            measured.append(compare(f"optimum unet, {level}", output, reference, TOLERANCE["fp32"]))
            advance()
        parts = {name: part_reference(pipeline, name) for name in OUTPUTS}
        text_feeds, states = text_reference(pipeline.text_encoder)
        parts["text_encoder"] = text_feeds, states[LAST]
        for name, (feeds_of_part, reference) in parts.items():
            output = Runner(folder / name / _MODEL)(feeds_of_part)
            what = f"optimum {name.replace('_', ' ')}"
            measured.append(compare(what, output, reference, TOLERANCE["fp32"]))
            advance()
    return measured
