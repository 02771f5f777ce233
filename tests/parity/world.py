"""What is compared: the embedded model and a tiny one, as diffusers loads them and as exported."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from exporter.export import StyleRequest, export
from exporter.progress import silent
from runtime.bundle import Bundle
from runtime.manifest import Dtype
from runtime.pipeline import Pipeline
from runtime.unet import UNet
from tests.parity.reference import Reference
from tests.tiny import tiny_pipeline

MODELS = Path(__file__).parents[2] / "models"
LORAS = {name: MODELS / "loras" / f"{name}.safetensors" for name in ("miyazaki", "gothic")}
MERGED_STRENGTH = 0.8
PROMPT = "a castle, clouds, green hills, day"
NEGATIVE = "night"
# Name of a step -> timestep, and how many rows and columns more than usual its latent has.
STEPS = {
    "high noise": (951.0, (0, 0)),
    "middle noise, odd size": (501.0, (-1, 3)),
    "low noise": (51.0, (0, 0)),
}
# What is switched on in the steps and pictures that are compared.
STYLES: dict[str, dict[str, float]] = {
    "no style": {},
    "miyazaki 0.8": {"miyazaki": 0.8},
    "miyazaki -0.5": {"miyazaki": -0.5},
    "miyazaki 0.7 + gothic 0.5": {"miyazaki": 0.7, "gothic": 0.5},
}
# What is switched on for the merged variant: the LoRA is in its weights.
MERGED = {"miyazaki-merged": MERGED_STRENGTH}


class HalfPipeline(Pipeline):
    """Takes the graphs that compute in fp16, as a browser does on a GPU with shader-f16."""

    def unet(self, variant: str) -> UNet:
        """On the CPU provider."""
        if variant not in self._unets:
            wanted = self.bundle.manifest.variant(variant)
            graph = next(graph for graph in wanted.graphs if graph.compute == "fp16")
            self._unets[variant] = UNet(self.bundle, wanted, graph=graph)
        return self._unets[variant]


@dataclass(frozen=True)
class World:
    """`folder`: where bundles are written."""

    folder: Path

    @cached_property
    def bundle(self) -> Path:
        """The embedded base with two external styles and a merged one."""
        return self._exported(self.folder / "dist")

    @cached_property
    def quantised(self) -> Pipeline:
        """The same on onnxruntime, its weights in 8 bits."""
        return Pipeline(Bundle.open(self._exported(self.folder / "dist-q8", "q8")))

    @cached_property
    def half(self) -> Pipeline:
        """The bundle on onnxruntime, by the graphs that compute in fp16."""
        return HalfPipeline(Bundle.open(self.bundle))

    @cached_property
    def tiny(self) -> Path:
        """A bundle of a model that even a GPU in software draws with."""
        base = tiny_pipeline(self.folder / "tiny")
        export(base, self.folder / "dist-tiny", silent)
        return self.folder / "dist-tiny"

    def _exported(self, out: Path, dtype: Dtype = "fp16") -> Path:
        for path in LORAS.values():
            export(MODELS / "base", out, silent, StyleRequest(path, "external"), dtype=dtype)
        merged = StyleRequest(LORAS["miyazaki"], "merged", strength=MERGED_STRENGTH)
        export(MODELS / "base", out, silent, merged)
        return out

    @cached_property
    def pipeline(self) -> Pipeline:
        """The bundle on onnxruntime."""
        return Pipeline(Bundle.open(self.bundle))

    @cached_property
    def reference(self) -> Reference:
        """The same in diffusers, with the styles' LoRA files loaded through PEFT."""
        return Reference(MODELS / "base", LORAS)

    @cached_property
    def steps(self) -> dict[str, dict[str, np.ndarray]]:
        """Name -> UNet inputs for a guided step."""
        states = self.reference.embeddings(PROMPT, NEGATIVE)
        size = self.pipeline.bundle.manifest.model.sample_size
        channels = self.pipeline.bundle.manifest.model.latent_channels
        generator = torch.Generator().manual_seed(7)
        return {
            name: {
                "sample": torch.randn(
                    (2, channels, size + taller, size + wider), generator=generator
                ).numpy(),
                "timestep": np.array([timestep], np.float32),
                "encoder_hidden_states": states,
            }
            for name, (timestep, (taller, wider)) in STEPS.items()
        }
