"""One trace of a model for all exports of a test run: torch's tracer takes most of their time.

A trace depends on the weights and on what slots it has, and is the same each time; that a process
of its own gives the same bytes is a test in tests/exporter/test_export.py.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import pytest
import torch
from torch import nn

import exporter.base
import exporter.text_encoder


@contextmanager
def traced_once() -> Iterator[None]:
    """While it lasts, what was traced is not traced again."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (exporter.base, "trace"),
            (exporter.text_encoder, "trace_text_encoder"),
        ):
            patch.setattr(module, name, _remembering(getattr(module, name)))
        yield


def _remembering(trace: Callable[..., ir.Model]) -> Callable[..., ir.Model]:
    traced: dict[str, ir.Model] = {}

    def remembering(model: nn.Module, *args: Any, **named: Any) -> ir.Model:
        key = f"{_identity(model)} {args} {named}"
        if key not in traced:
            traced[key] = trace(model, *args, **named)
        return traced[key].clone()

    return remembering


def _identity(model: Any) -> str:
    config = model.config
    fields = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    fields.pop("_name_or_path", None)
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
