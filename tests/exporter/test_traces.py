"""A module is traced once for all weights, and again when anything else has changed."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import nn

from exporter import traces
from exporter.traces import trace_module

HEADS = {"heads": 2, "_name_or_path": "somewhere"}


class Small(nn.Module):
    """With a weight that torch's optimizer folds, a tied one, a buffer and a constant."""

    def __init__(self, seed: int, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(width, width)
        self.again = self.linear
        self.norm = nn.GroupNorm(2, width)
        nn.init.normal_(self.norm.weight)
        self.register_buffer("places", torch.arange(width) * math.pi, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x [batch, width]` -> the same shape."""
        y = self.norm(self.again(self.linear(x)).unsqueeze(-1)).squeeze(-1)
        return y * self.places + torch.tensor([0.25])


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tells of each module that torch has traced."""
    told: list[str] = []
    original = torch.onnx.export

    def export(module: nn.Module, *inputs: Any, **options: Any) -> Any:
        told.append(type(module).__name__)
        return original(module, *inputs, **options)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch.onnx, "export", export)
    return told


def trace(module: nn.Module, width: int = 8, **config: object) -> ir.Model:
    return trace_module(
        module.eval(),
        (torch.zeros(3, width),),
        config=HEADS | config,
        input_names=["x"],
        output_names=["y"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )


def kept() -> list[Path]:
    return sorted(traces._folder().iterdir())


def assert_computes(model: ir.Model, module: nn.Module) -> None:
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-5)


def test_other_weights_need_no_other_trace(counted: list[str]) -> None:
    for seed in range(3):
        module = Small(seed)
        assert_computes(trace(module), module)
    assert counted == ["Small"]


def test_a_kept_trace_holds_neither_weights_nor_places(counted: list[str]) -> None:
    module = Small(0)
    trace(module)
    [path] = kept()
    data = path.read_bytes()
    for tensor in module.state_dict().values():
        assert tensor.numpy().tobytes() not in data
    assert str(Path(__file__).parent).encode() not in data


def test_what_a_trace_depends_on_has_its_own(
    counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace(Small(0))
    trace(Small(0), _name_or_path="elsewhere")
    assert len(counted) == 1
    trace(Small(0), heads=4)
    trace(Small(0, width=12), width=12)
    monkeypatch.setattr(traces, "version", lambda name: f"another {name}")
    trace(Small(0))
    assert len(counted) == len(kept()) == 4


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_damaged_one_is_traced_again(share: float, counted: list[str]) -> None:
    trace(Small(0))
    [path] = kept()
    data = path.read_bytes()
    at = int(share * len(data))
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    for seed in (1, 2):
        module = Small(seed)
        assert_computes(trace(module), module)
    assert len(counted) == 2
    assert len(kept()) == 1


def test_only_the_latest_are_kept(counted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "KEPT", 2)
    for heads in range(3):
        trace(Small(0), heads=heads)
    assert len(kept()) == 2


def test_where_nothing_can_be_kept_it_is_traced_all_the_same(
    counted: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    module = Small(0)
    assert_computes(trace(module), module)
    assert counted == ["Small"]
