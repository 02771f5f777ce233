"""torch's traces, kept: models of one architecture have the same one, whatever their weights.

Tracing takes most of the time of a small base's export. What is kept is the graph before a weight
was looked at; torch's optimizer, which folds some of them, runs each time.
"""

import hashlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as common
import torch
from torch import nn

from runtime.files import cache_folder, cache_key, hashed_name, write_whole

OPSET = 18  # what torch's exporter writes without conversion; every onnxruntime-web runs it
KEPT = 64  # traces of some hundred kilobytes

_LIBRARIES = ("torch", "diffusers", "transformers", "onnxscript", "onnx-ir", "onnx")
_WEIGHT = "weight"  # the file that an initializer's bytes pretend to lie in


def trace_module(
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    named_inputs: Mapping[str, Any] | None = None,
    *,
    config: Mapping[str, Any],
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_shapes: Any,
) -> ir.Model:
    """A module as an optimized graph; its initializers have the names of the module's tensors.

    A kept trace that is damaged or cannot be written costs time, nothing else.

    Args:
        module: in evaluation mode.
        inputs: of its forward.
        named_inputs: of its forward, by name.
        config: what its forward depends on beside the shapes of its tensors.
        input_names: of the graph.
        output_names: of the graph.
        dynamic_shapes: which sizes are free, as `torch.onnx.export` takes it.
    """
    named_inputs = dict(named_inputs or {})
    names = list(input_names), list(output_names)
    asked = [[list(tensor.shape) for tensor in inputs], names, repr(dynamic_shapes)]
    tensors = _tensors(module)
    key = _key(module, tensors, config, asked)
    data = _read(key)
    if data is None:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's exporter warns about its own internals
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # and that torchvision misses
            program = torch.onnx.export(
                module,
                inputs,
                kwargs=named_inputs,
                input_names=names[0],
                output_names=names[1],
                dynamic_shapes=dynamic_shapes,
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        assert program is not None
        data = _without_weights(program.model, tensors)
        with suppress(OSError):
            _keep(key, data)
    model = ir.from_proto(onnx.ModelProto.FromString(data))
    for name, value in model.graph.initializers.items():
        if name in tensors:
            value.const_value = ir.tensor(tensors[name].detach().numpy(), name=name)
    program = torch.onnx.ONNXProgram(model, None)
    program.optimize()
    return program.model


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor of a module by each of its names."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return parameters | dict(module.named_buffers(remove_duplicate=False))


def _without_weights(model: ir.Model, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """A traced model as bytes, its tensors and where it was traced left out."""
    common.ClearMetadataAndDocStringPass()(model)
    for name, value in model.graph.initializers.items():
        if name in tensors:
            assert value.dtype is not None
            assert isinstance(value.shape, ir.Shape)
            value.const_value = ir.ExternalTensor(
                _WEIGHT, 0, 0, value.dtype, shape=value.shape, name=name
            )
    data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return data


def _folder() -> Path:
    return cache_folder() / "traces"


def _read(key: str) -> bytes | None:
    """The kept trace, if it is whole: its name tells its digest."""
    for path in sorted(_folder().glob(f"{key}-*.onnx")):
        with suppress(OSError):
            data = path.read_bytes()
            if path.name == _name(key, data):
                return data
    return None


def _keep(key: str, data: bytes) -> None:
    """Keeps a trace, and of all traces the latest."""
    for damaged in _folder().glob(f"{key}-*.onnx"):
        damaged.unlink(missing_ok=True)
    write_whole(_folder() / _name(key, data), data)
    by_age = sorted(_folder().glob("*.onnx"), key=lambda path: path.stat().st_mtime)
    for path in by_age[:-KEPT]:
        path.unlink(missing_ok=True)


def _name(key: str, data: bytes) -> str:
    return hashed_name(key, ".onnx", hashlib.sha256(data).hexdigest())


def _key(
    module: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    asked: object,
) -> str:
    """Of all that a trace depends on: the module, the libraries, and the code of this package."""
    own = {key: value for key, value in config.items() if not key.startswith("_")}
    shapes = {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()}
    code = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    libraries = [version(name) for name in _LIBRARIES]
    return cache_key([str(module), own, shapes, asked, libraries, code])
