"""Exports a base pipeline: everything of a bundle but its styles."""

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from exporter import NAME, graphs
from exporter.bases import Base
from exporter.golden import (
    GOLDEN_LEVEL,
    golden_inputs,
    golden_lora,
    reference_step,
    write_golden,
)
from exporter.hints import read_hints
from exporter.memory import return_large_blocks
from exporter.parity import TOLERANCE, Parity, Runner, compare
from exporter.parts import OUTPUTS, part_reference, stage_graph, trace_parts
from exporter.pipeline import load_pipeline, load_unet
from exporter.preview import latent_rgb
from exporter.progress import Advance, Step
from exporter.quantisation import BITS
from exporter.sampler_cache import sampler_tables
from exporter.samplers import MAX_STEPS, RECIPES
from exporter.shards import Shards
from exporter.sinusoid import guidance_frequencies
from exporter.slots import SlotSet, aliases, make_slots
from exporter.slotting import slot_shapes
from exporter.staging import Stage, dump, grammar_file
from exporter.text_encoder import export_text_encoder
from exporter.tokenizer import export_tokenizer
from exporter.unet import trace
from exporter.variants import base_graphs, measure
from runtime.manifest import (
    BASE_VARIANT,
    Dtype,
    Manifest,
    Model,
    Part,
    Sampler,
    SlotTable,
    Storage,
    UNetVariant,
)
from runtime.tensors import Float32


def export_base(
    base: Base, base_hash: str, slot_set: SlotSet, dtype: Dtype, stage: Stage, step: Step
) -> tuple[Manifest, list[Parity]]:
    """Stages a pipeline and measures it.

    Args:
        base: the pipeline.
        base_hash: its identity, from `digests.base_hash`.
        slot_set: where LoRAs can attach.
        dtype: how the UNet's weights are stored.
        stage: where the files go.
        step: shows the progress.

    Returns:
        The manifest, without styles, and what the parity gate has to judge.

    Raises:
        BrushletError: a part of the pipeline is of a kind that cannot be exported.
    """
    return_large_blocks()
    with step("loading the pipeline", 1):
        pipeline = load_pipeline(base.folder, dtype)
        shapes = slot_shapes(pipeline.unet, slot_set)
        config, scheduler = pipeline.unet.config, pipeline.scheduler.config
    shards = Shards(stage)
    with step("preview matrix", 1):
        model = _model(pipeline)
    with step("text encoder", 1):
        text_encoder, text_parity = export_text_encoder(pipeline.text_encoder, shards, stage)
    measured = list(text_parity)
    with step("VAE", len(OUTPUTS)) as advance:
        parts = {}
        for name, graph in trace_parts(pipeline):
            parts[name] = _part(name, graph, shards, stage)
            measured.append(_measure_part(pipeline, name, parts[name], stage))
            advance()
            del graph  # which holds PyTorch's weights
    # 0.8 GB of Stable Diffusion 1.5, which the UNet's gate needs
    pipeline.text_encoder = pipeline.vae = None
    levels = golden_inputs(config, scheduler["num_train_timesteps"])
    lora = golden_lora(shapes)
    references: dict[str, Float32] = {}
    with step("PyTorch reference", len(levels)) as advance:
        for level, feeds in levels.items():
            references[level] = reference_step(pipeline.unet, feeds, lora)
            advance()
    storage = Storage(dtype=dtype)
    if dtype in BITS:
        with step("cost of quantising", 1):
            exact = reference_step(load_unet(base.folder), levels[GOLDEN_LEVEL], lora)
            cost = compare(dtype, references[GOLDEN_LEVEL], exact, TOLERANCE["fp32"]).measurement()
            storage = Storage(dtype=dtype, error=cost.error, cosine=cost.cosine)
    with step("tracing the UNet", 1):
        traced = trace(pipeline.unet, slot_set, quantised=dtype in BITS)
    with step("UNet weights and graphs", 1):
        graphs.tidy(traced)
        if dtype in BITS:
            graphs.quantise(traced, BITS[dtype])
        names = [f"{path}.{name}" for path in shapes for name in ("weight", "scales")]
        slotted = [name for name in names if name in traced.graph.initializers]
        places = graphs.detach(traced, shards, [slotted], narrow=dtype != "fp32")
        unet_graphs = base_graphs(stage, graphs.serialize(traced), BASE_VARIANT, dtype)
        slots = make_slots(shapes, places, lambda path: aliases(path, config))
        table = SlotTable(slot_set=slot_set, slots=slots)
        del traced
        pipeline.unet = None  # 1.7 GB more
    with step("UNet parity", len(unet_graphs)) as advance:
        feeds_of = {level: {**feeds, **lora} for level, feeds in levels.items()}
        unet_parity = measure(stage, BASE_VARIANT, unet_graphs, feeds_of, references, advance)
    with step("sampler tables", len(RECIPES) * MAX_STEPS) as advance:
        samplers = [_sampler(name, scheduler, stage, advance) for name in RECIPES]
    golden = write_golden(stage, BASE_VARIANT, levels[GOLDEN_LEVEL], references[GOLDEN_LEVEL])
    manifest = Manifest(
        name=base.name,
        base_hash=base_hash,
        exporter=NAME,
        model=model,
        hints=read_hints(base.folder),
        storage=storage,
        shards=shards.files,
        unet=[UNetVariant(name=BASE_VARIANT, slots=True, graphs=unet_graphs, golden=golden)],
        text_encoder=text_encoder,
        vae_decoder=parts["vae_decoder"],
        vae_encoder=parts["vae_encoder"],
        tokenizer=export_tokenizer(base.folder / "tokenizer", stage),
        samplers=samplers,
        slots=stage.add("slots", ".json", dump(table)),
        lora=grammar_file(stage),
    )
    return manifest, unet_parity + measured


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
        guidance_frequencies=guidance_frequencies(unet.time_cond_proj_dim),
        latent_rgb=latent_rgb(pipeline.vae),
    )


def _part(name: str, model: ir.Model, shards: Shards, stage: Stage) -> Part:
    graphs.tidy(model, [OUTPUTS[name]])
    graphs.detach(model, shards, [])
    return Part(graph=stage_graph(stage, name, model))


def _measure_part(pipeline: Any, name: str, part: Part, stage: Stage) -> Parity:
    feeds, reference = part_reference(pipeline, name)
    output = Runner(stage.folder / part.graph.file.url)(feeds)
    return compare(name.replace("_", " "), output, reference, TOLERANCE["fp32"])


def _sampler(name: str, config: Mapping[str, Any], stage: Stage, advance: Advance) -> Sampler:
    recipe = RECIPES[name]
    tables = sampler_tables(name, config, advance)
    return Sampler(
        name=name,
        title=recipe.title,
        file=stage.add(f"sampler-{name}", ".json", dump(tables, exclude_defaults=True)),
        default_steps=recipe.default_steps,
        max_steps=MAX_STEPS,
    )
