"""Exports a base pipeline: everything of a bundle but its styles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from exporter import NAME, graphs
from exporter.golden import (
    GOLDEN_LEVEL,
    golden_inputs,
    golden_lora,
    reference_step,
    write_golden,
)
from exporter.parity import TOLERANCE, Parity, Runner, compare
from exporter.parts import OUTPUTS, part_reference, trace_parts
from exporter.pipeline import load_pipeline
from exporter.preview import latent_rgb
from exporter.progress import Advance, Step
from exporter.samplers import MAX_STEPS, RECIPES, sampler_tables
from exporter.shards import Place, Shards
from exporter.slots import aliases, input_names
from exporter.staging import Stage, dump
from exporter.tokenizer import export_tokenizer
from exporter.unet import slot_widths, trace
from exporter.variants import BASE_VARIANT, base_graphs, measure
from runtime.manifest import (
    Graph,
    Manifest,
    Model,
    Part,
    Sampler,
    Slot,
    SlotTable,
    UNetVariant,
    WeightPlace,
)
from runtime.tensors import Float32

_EMBEDDED = Path(__file__).parents[1] / "models" / "base", "brushlet"  # folder, name


def export_base(
    base: Path, base_hash: str, stage: Stage, step: Step
) -> tuple[Manifest, list[Parity]]:
    """Stages the pipeline in `base` and measures it.

    Args:
        base: a folder in the diffusers layout.
        base_hash: its identity, from `digests.base_hash`.
        stage: where the files go.
        step: shows the progress.

    Returns:
        The manifest, without styles, and what the parity gate has to judge.

    Raises:
        BrushletError: a part of the pipeline is of a kind that cannot be exported.
    """
    with step("loading the pipeline", 1):
        pipeline = load_pipeline(base)
        widths = slot_widths(pipeline.unet)
        config, scheduler = pipeline.unet.config, pipeline.scheduler.config
    levels = golden_inputs(config, scheduler["num_train_timesteps"])
    lora = golden_lora(widths)
    references: dict[str, Float32] = {}
    with step("PyTorch reference", len(levels)) as advance:
        for level, feeds in levels.items():
            references[level] = reference_step(pipeline.unet, feeds, lora)
            advance()
    with step("preview matrix", 1):
        model = _model(pipeline)

    shards = Shards(stage)
    with step("tracing the UNet", 1):
        traced = trace(pipeline.unet)
    with step("UNet weights and graphs", 1):
        graphs.tidy(traced)
        places = graphs.detach(traced, shards, [[f"{path}.weight" for path in widths]])
        unet_graphs = base_graphs(stage, graphs.serialize(traced), BASE_VARIANT)
        table = _slot_table(widths, places, config)
    with step("text encoder and VAE", len(OUTPUTS)) as advance:
        parts = {}
        for name, graph in trace_parts(pipeline):
            parts[name] = _part(name, graph, shards, stage)
            advance()
    with step("sampler tables", len(RECIPES) * MAX_STEPS) as advance:
        samplers = [_sampler(name, scheduler, stage, advance) for name in RECIPES]
    golden = write_golden(stage, BASE_VARIANT, levels[GOLDEN_LEVEL], references[GOLDEN_LEVEL])
    with step("parity", len(parts) + len(unet_graphs)) as advance:
        measured = []
        for name, part in parts.items():
            measured.append(_measure_part(pipeline, name, part, stage))
            advance()
        feeds_of = {level: {**feeds, **lora} for level, feeds in levels.items()}
        measured += measure(stage, BASE_VARIANT, unet_graphs, feeds_of, references, advance)
    manifest = Manifest(
        name=_EMBEDDED[1] if base.resolve() == _EMBEDDED[0] else base.resolve().name,
        base_hash=base_hash,
        exporter=NAME,
        model=model,
        shards=shards.files,
        unet=[UNetVariant(name=BASE_VARIANT, slots=True, graphs=unet_graphs, golden=golden)],
        text_encoder=parts["text_encoder"],
        vae_decoder=parts["vae_decoder"],
        vae_encoder=parts["vae_encoder"],
        tokenizer=export_tokenizer(base / "tokenizer", stage),
        samplers=samplers,
        slots=stage.add("slots", ".json", dump(table)),
    )
    return manifest, measured


def _model(pipeline: Any) -> Model:
    unet, vae = pipeline.unet.config, pipeline.vae.config
    return Model(
        sample_size=unet.sample_size,
        latent_channels=vae.latent_channels,
        in_channels=unet.in_channels,
        vae_scale=pipeline.vae_scale_factor,
        vae_scaling_factor=vae.scaling_factor,
        prediction_type=pipeline.scheduler.config.prediction_type,
        cross_attention_dim=unet.cross_attention_dim,
        num_train_timesteps=pipeline.scheduler.config.num_train_timesteps,
        latent_rgb=latent_rgb(pipeline.vae),
    )


def _slot_table(
    widths: Mapping[str, tuple[int, int]], places: Mapping[str, Place], config: Mapping[str, Any]
) -> SlotTable:
    slots = []
    for path, (ins, outs) in widths.items():
        place = places[f"{path}.weight"]
        linear = len(place.shape) == 2
        input_a, input_b = input_names(path)
        slots.append(
            Slot(
                name=path,
                kind="linear" if linear else "conv1x1",
                in_width=ins,
                out_width=outs,
                input_a=input_a,
                input_b=input_b,
                aliases=aliases(path, config),
                weight=WeightPlace(
                    shard=place.shard,
                    offset=place.offset,
                    shape=list(place.shape),
                    dtype="float16",
                    transposed=linear,
                ),
            )
        )
    return SlotTable(slot_set="transformer", slots=slots)


def _part(name: str, model: ir.Model, shards: Shards, stage: Stage) -> Part:
    graphs.tidy(model, [OUTPUTS[name]])
    graphs.detach(model, shards, [])
    graph = Graph(
        file=stage.add(name, ".onnx", graphs.serialize(model)),
        compute="fp32",
        attention="plain",
        providers=["cpu", "wasm", "jsep", "webgpu", "cuda"],
        shards=graphs.shards_of(model),
    )
    return Part(graph=graph)


def _measure_part(pipeline: Any, name: str, part: Part, stage: Stage) -> Parity:
    feeds, reference = part_reference(pipeline, name)
    output = Runner(stage.folder / part.graph.file.url)(feeds)
    return compare(name.replace("_", " "), output, reference, TOLERANCE["fp32"])


def _sampler(name: str, config: Mapping[str, Any], stage: Stage, advance: Advance) -> Sampler:
    recipe = RECIPES[name]
    tables = sampler_tables(name, config, on_table=advance)
    return Sampler(
        name=name,
        title=recipe.title,
        file=stage.add(f"sampler-{name}", ".json", dump(tables)),
        default_steps=recipe.default_steps,
        max_steps=MAX_STEPS,
    )
