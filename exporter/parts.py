"""The VAE's parts as ONNX graphs, traced by Optimum, which has no tiny autoencoder."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from diffusers import AutoencoderTiny
from torch import nn

from exporter import graphs
from exporter.staging import Stage
from exporter.traces import OPSET, trace_module
from runtime.manifest import Graph
from runtime.noise import Generator
from runtime.tensors import Array

# name -> the output kept, of those Optimum writes
OUTPUTS = {
    "vae_encoder": "latent_parameters",
    "vae_decoder": "sample",
}
_SEED = 2
_TRACED = 8  # latent pixels a side: tracing runs the model, at full size for minutes


def trace_parts(pipeline: Any) -> Iterator[tuple[str, ir.Model]]:
    """Yields (name, fp32 graph) of each part, with Optimum's input and output names.

    Of a VAE without posterior the encoder's `latent_parameters [n, C, h, w]` are the latents.
    """
    tiny = isinstance(pipeline.vae, AutoencoderTiny)
    pipeline.vae.register_to_config(sample_size=_TRACED * pipeline.vae_scale_factor)
    with _quiet():
        from optimum.exporters.onnx.convert import export_models
        from optimum.exporters.utils import get_diffusion_models_for_export

        models = get_diffusion_models_for_export(pipeline)
    for name in OUTPUTS:
        if tiny:
            yield name, _trace_tiny(pipeline, name)
            continue
        with tempfile.TemporaryDirectory() as folder:
            with _quiet():
                sizes = {"height": _TRACED, "width": _TRACED}
                export_models({name: models[name]}, Path(folder), opset=OPSET, input_shapes=sizes)
            yield name, ir.load(Path(folder) / f"{name}.onnx")


def _trace_tiny(pipeline: Any, name: str) -> ir.Model:
    """The encoder or decoder of an AutoencoderTiny."""
    vae, scale = pipeline.vae, pipeline.vae_scale_factor
    encodes = name == "vae_encoder"
    module: nn.Module = vae.encoder if encodes else vae.decoder
    channels, multiple = (3, scale) if encodes else (vae.config.latent_channels, 1)
    batch, height, width = map(torch.export.Dim, ("batch", "height", "width"))
    return trace_module(
        module,
        (torch.zeros(2, channels, 6 * multiple, 10 * multiple),),
        config=vae.config,
        input_names=["sample" if encodes else "latent_sample"],
        output_names=[OUTPUTS[name]],
        dynamic_shapes=({0: batch, 2: multiple * height, 3: multiple * width},),
    )


def part_reference(pipeline: Any, name: str) -> tuple[dict[str, Array], Array]:
    """Inputs of a part's graph, and what PyTorch in fp32 makes of them."""
    generator = Generator(_SEED)
    with torch.no_grad():
        vae = pipeline.vae
        # Not square, and not the size it was traced at.
        if name == "vae_encoder":
            scale = pipeline.vae_scale_factor
            sample = generator.randn((1, 3, 6 * scale, 4 * scale))
            encoded = vae.encode(torch.from_numpy(sample))
            tiny = isinstance(vae, AutoencoderTiny)
            parameters = encoded.latents if tiny else encoded.latent_dist.parameters
            return {"sample": sample}, parameters.numpy()
        latents = generator.randn((1, vae.config.latent_channels, 6, 4))
        return {"latent_sample": latents}, vae.decode(torch.from_numpy(latents)).sample.numpy()


def stage_graph(stage: Stage, stem: str, model: ir.Model) -> Graph:
    """Stages a part's detached fp32 graph, which every execution provider runs."""
    return Graph(
        file=stage.add(stem, ".onnx", graphs.serialize(model)),
        compute="fp32",
        attention="plain",
        providers=["cpu", "wasm", "jsep", "webgpu", "cuda"],
        shards=graphs.shards_of(model),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences Optimum, which still traces with the exporter that torch deprecates."""
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
