"""The text encoder and the VAE as ONNX graphs, traced by Optimum."""

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

from exporter.unet import OPSET
from runtime.noise import Generator
from runtime.tensors import Array

# name -> the output kept, of those Optimum writes
OUTPUTS = {
    "text_encoder": "last_hidden_state",
    "vae_encoder": "latent_parameters",
    "vae_decoder": "sample",
}
_SEED = 2


def trace_parts(pipeline: Any) -> Iterator[tuple[str, ir.Model]]:
    """Yields (name, fp32 graph) of each part, with Optimum's input and output names."""
    with _quiet():
        from optimum.exporters.onnx.convert import export_models
        from optimum.exporters.utils import get_diffusion_models_for_export

        models = get_diffusion_models_for_export(pipeline)
    for name in OUTPUTS:
        with tempfile.TemporaryDirectory() as folder:
            with _quiet():
                export_models({name: models[name]}, Path(folder), opset=OPSET)
            yield name, ir.load(Path(folder) / f"{name}.onnx")


def part_reference(pipeline: Any, name: str) -> tuple[dict[str, Array], Array]:
    """Inputs of a part's graph, and what PyTorch in fp32 makes of them."""
    generator = Generator(_SEED)
    with torch.no_grad():
        if name == "text_encoder":
            config = pipeline.text_encoder.config
            count = config.max_position_embeddings
            ids = torch.arange(2 * count).reshape(2, count) * 7919 % config.vocab_size
            return {"input_ids": ids.numpy()}, pipeline.text_encoder(ids)[0].numpy()
        vae = pipeline.vae
        # Not square, and not the size it was traced at.
        if name == "vae_encoder":
            scale = pipeline.vae_scale_factor
            sample = generator.randn((1, 3, 6 * scale, 4 * scale))
            moments = vae.encode(torch.from_numpy(sample)).latent_dist.parameters
            return {"sample": sample}, moments.numpy()
        latents = generator.randn((1, vae.config.latent_channels, 6, 4))
        return {"latent_sample": latents}, vae.decode(torch.from_numpy(latents)).sample.numpy()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences Optimum, which still traces with the exporter that torch deprecates."""
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
