"""The CLIP text encoder, with a LoRA input pair at every slot, as a graph; and merged.

It runs once per prompt, so its slots are all detours: base(x) + (x @ A) @ B. Beside its last
states it gives those without the last layers, for clip skip.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from exporter import graphs
from exporter.biases import replace_biases, store
from exporter.golden import golden_lora, hooked
from exporter.merge import Merge
from exporter.parity import TOLERANCE, Parity, Runner, compare
from exporter.parts import stage_graph
from exporter.pipeline import fill, fill_biases, load_text_encoder
from exporter.shards import Shards
from exporter.slots import SlotShape, input_names, make_slots, text_aliases, text_slot_paths
from exporter.slotting import Adapters, Detour
from exporter.staging import Stage, dump
from exporter.traces import trace_module
from exporter.unet import Projection
from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.manifest import Part, SlotTable, TextEncoderPart
from runtime.tensors import Array, Float32

LAST = "last_hidden_state"  # Optimum's name


def skipped_outputs(text_encoder: Any) -> list[str]:
    """Names of the states without the last layer, the last two, ..., down to one layer."""
    return [f"skipped_{skip}" for skip in range(1, text_encoder.config.num_hidden_layers)]


def text_slot_shapes(text_encoder: nn.Module) -> dict[str, SlotShape]:
    """Slot path `text_encoder.text_model...` -> its shape, in module order.

    Raises:
        BrushletError: it is no CLIP text encoder.
    """
    modules: dict[str, Any] = dict(named(text_encoder).named_modules())
    shapes = {}
    for path in text_slot_paths(modules):
        outs, ins = modules[path].weight.shape
        shapes[path] = SlotShape("linear", ins, outs, transposed=True)
    if not shapes:
        raise BrushletError(
            f"the text encoder is a {type(text_encoder).__name__}, not CLIP's CLIPTextModel",
            todo="use a Stable Diffusion 1.x or 2.x base",
        )
    return shapes


def export_text_encoder(
    text_encoder: nn.Module, shards: Shards, stage: Stage
) -> tuple[TextEncoderPart, list[Parity]]:
    """Stages a text encoder, and measures it with a LoRA; it cannot run afterwards.

    Raises:
        BrushletError: it is no CLIP text encoder.
    """
    shapes = text_slot_shapes(text_encoder)
    lora = golden_lora(shapes)
    with hooked(named(text_encoder), lora):
        feeds, references = text_reference(text_encoder)
    model = trace_text_encoder(text_encoder, shapes)
    graphs.tidy(model)
    places = graphs.detach(model, shards, [[f"{path}.weight" for path in shapes]])
    table = SlotTable(
        model="text_encoder",
        slot_set="transformer",
        slots=make_slots(shapes, places, text_aliases),
    )
    part = TextEncoderPart(
        graph=stage_graph(stage, "text_encoder", model),
        slots=stage.add("slots-text_encoder", ".json", dump(table)),
        skipped=skipped_outputs(text_encoder),
    )
    outputs = Runner(stage.folder / part.graph.file.url).outputs({**feeds, **lora})
    return part, _compare("text encoder", outputs, references)


def merge_text_encoder(
    bundle: Bundle, base: Path, merge: Merge, name: str, shards: Shards, stage: Stage
) -> tuple[Part, list[Parity]]:
    """Stages the text encoder without slots, a LoRA merged in; it shares unchanged shards.

    Args:
        bundle: the staged base.
        base: the folder of the original model.
        merge: what to merge.
        name: of the style.
        shards: where changed weights go.
        stage: where the graph goes.

    Raises:
        BadFile: fp16 cannot hold a merged weight.
    """
    part = bundle.manifest.text_encoder
    model = graphs.parse((bundle.folder / part.graph.file.url).read_bytes())
    places = shards.write(merge.weights(lambda: None))
    biases = merge.biases
    graphs.remove_slots(model, [slot.name for slot in merge.table.slots])
    graphs.relocate(model, places)
    replace_biases(model, store(biases, shards))
    graph = stage_graph(stage, f"text_encoder-{name}", model)
    text_encoder = load_text_encoder(base)
    fill(named(text_encoder), merge.changed(stage.folder, places))
    fill_biases(named(text_encoder), biases)
    feeds, references = text_reference(text_encoder)
    outputs = Runner(stage.folder / graph.file.url).outputs(feeds)
    return Part(graph=graph), _compare(f"{name}, text encoder", outputs, references)


def _compare(
    what: str, outputs: Mapping[str, Array], references: Mapping[str, Array]
) -> list[Parity]:
    """The last states, and all those of skipped layers together."""
    skipped = [name for name in references if name != LAST]
    measured = [compare(what, outputs[LAST], references[LAST], TOLERANCE["fp32"])]
    if skipped:
        found, expected = (np.stack([of[name] for name in skipped]) for of in (outputs, references))
        measured.append(compare(f"{what}, clip skip", found, expected, TOLERANCE["fp32"]))
    return measured


class SlottedTextEncoder(nn.Module):
    """A text encoder rebuilt in place for tracing: `[in, out]` weights, slots."""

    def __init__(self, text_encoder: nn.Module, shapes: Mapping[str, SlotShape]) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.adapters: Adapters = {}
        for path in shapes:
            parent, _, name = path.rpartition(".")
            linear: Any = self.get_submodule(path)
            slot = Detour(Projection(linear), path, self.adapters)
            setattr(self.get_submodule(parent), name, slot)

    def forward(self, input_ids: torch.Tensor, adapters: Adapters) -> tuple[torch.Tensor, ...]:
        """`input_ids [batch, tokens]` -> as `all_states`."""
        self.adapters.update(adapters)
        return all_states(self.text_encoder, input_ids)


def all_states(text_encoder: Any, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The last hidden states `[batch, tokens, D]`, then those of `skipped_outputs`.

    These have the final layer norm, as diffusers' `encode_prompt(clip_skip=...)` gives them.
    """
    output = text_encoder(input_ids, output_hidden_states=True)
    norm = text_encoder.text_model.final_layer_norm
    # hidden_states: the embeddings, then each layer's
    skipped = output.hidden_states[-2:0:-1]
    return output.last_hidden_state, *map(norm, skipped)


def trace_text_encoder(text_encoder: nn.Module, shapes: Mapping[str, SlotShape]) -> ir.Model:
    """The text encoder as an fp32 graph with slots; it is rebuilt in place.

    Inputs `input_ids [batch, tokens]`, int64, then `<path>.lora_A [in, rank]` and
    `<path>.lora_B [rank, out]` per slot; outputs `last_hidden_state [batch, tokens, D]` and, of the
    same shape, `skipped_outputs`. Batch, tokens and rank are free.
    """
    slotted = SlottedTextEncoder(text_encoder, shapes).eval()
    config: Any = text_encoder.config
    adapters = {
        path: (torch.zeros(shape.ins, 3), torch.zeros(3, shape.outs))
        for path, shape in shapes.items()
    }
    batch, rank = torch.export.Dim("batch"), torch.export.Dim("rank")
    tokens = torch.export.Dim("tokens", max=config.max_position_embeddings)
    model = trace_module(
        slotted,
        (torch.zeros(2, 7, dtype=torch.int64),),
        {"adapters": adapters},
        config=config.to_dict(),
        input_names=["input_ids", *(name for path in shapes for name in input_names(path))],
        output_names=[LAST, *skipped_outputs(text_encoder)],
        dynamic_shapes={
            "input_ids": {0: batch, 1: tokens},
            "adapters": {path: ({1: rank}, {0: rank}) for path in adapters},
        },
    )
    initializers = list(model.graph.initializers.values())
    # `...q_proj.base.weight` -> the module path
    names = [str(value.name).replace(".base.", ".") for value in initializers]
    ir.convenience.rename_values(initializers, names)
    return model


def named(text_encoder: nn.Module) -> nn.Module:
    """Holds the text encoder, so that module paths are slot names."""
    return nn.ModuleDict({"text_encoder": text_encoder})


def text_reference(text_encoder: Any) -> tuple[dict[str, Array], dict[str, Float32]]:
    """`input_ids [2, tokens]` of all sorts of tokens, and PyTorch's states by output name."""
    config = text_encoder.config
    count = config.max_position_embeddings
    ids = torch.arange(2 * count).reshape(2, count) * 7919 % config.vocab_size
    with torch.no_grad():
        states = [state.numpy() for state in all_states(text_encoder, ids)]
    names = [LAST, *skipped_outputs(text_encoder)]
    return {"input_ids": ids.numpy()}, dict(zip(names, states, strict=True))
