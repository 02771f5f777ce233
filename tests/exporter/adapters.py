"""Exports of FORMAT=adapter, as tests make them."""

from pathlib import Path

from exporter.adapter_format import export_adapter
from exporter.bases import find_base
from exporter.blend import Blend, read_mixture
from exporter.progress import silent
from exporter.report import Report


def add(base: Path, out: Path, lora: Path | Blend, strength: float = 1.0) -> Report:
    mixture = read_mixture(lora)
    return export_adapter(find_base(str(base)), out, silent, mixture, mixture.details(), strength)
