"""The text encoder and the VAE as ONNX graphs, traced by Optimum."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
from diffusers import StableDiffusionPipeline

from exporter.unet import OPSET

# name -> the outputs kept, of those Optimum writes
OUTPUTS = {
    "text_encoder": ["last_hidden_state"],
    "vae_encoder": ["latent_parameters"],
    "vae_decoder": ["sample"],
}


def trace_parts(pipeline: StableDiffusionPipeline) -> Iterator[tuple[str, ir.Model]]:
    """Yields (name, fp32 graph) of each part, with Optimum's input and output names."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # Optimum still traces with the TorchScript exporter
        logging.getLogger("optimum").setLevel(logging.ERROR)
        from optimum.exporters.onnx.convert import export_models
        from optimum.exporters.utils import get_diffusion_models_for_export

        models = get_diffusion_models_for_export(pipeline)
    for name in OUTPUTS:
        with tempfile.TemporaryDirectory() as folder:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                export_models({name: models[name]}, Path(folder), opset=OPSET)
            yield name, ir.load(Path(folder) / f"{name}.onnx")
