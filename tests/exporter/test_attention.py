from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from numpy.typing import NDArray

from exporter.attention import FusedAttention
from exporter.graphs import serialize
from exporter.traces import trace_module


class Cross(torch.nn.Module):
    """Attention over a context, or over its own rows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = Attention(query_dim=16, cross_attention_dim=12, heads=2, dim_head=8)

    def forward(self, rows: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return self.attention(rows, encoder_hidden_states=context)  # type: ignore[no-any-return]


@torch.no_grad()
def test_one_node_is_diffusers_attention(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = Cross().eval()
    rows, context = torch.randn(2, 5, 16), torch.randn(2, 7, 12)
    model.attention.set_processor(AttnProcessor())
    expected = model(rows, context).numpy()

    model.attention.set_processor(FusedAttention())
    graph = trace_module(
        model,
        (rows, context),
        config={},
        input_names=["rows", "context"],
        output_names=["mixed"],
        dynamic_shapes=None,
    )
    nodes = [node.op_type for node in graph.graph]
    assert nodes.count("MultiHeadAttention") == 1
    assert "Softmax" not in nodes
    session = onnxruntime.InferenceSession(serialize(graph))
    feeds: dict[str, NDArray[np.float32]] = {"rows": rows.numpy(), "context": context.numpy()}
    np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=1e-6)


def test_a_mask_is_refused() -> None:
    rows = torch.zeros(1, 3, 16)
    with pytest.raises(NotImplementedError, match="masks"):
        FusedAttention()(Cross().attention, rows, attention_mask=torch.ones(1, 3))
