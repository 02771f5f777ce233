"""Attention as one `com.microsoft::MultiHeadAttention` node.

PyTorch's own attention exports as some ten nodes that hold `[batch, heads, tokens, tokens]`; the
fused node halves the time and memory of a step (DESIGN.md, section 3).
"""

from typing import Any

import torch


class FusedAttention:
    """A diffusers attention processor that can only be traced, not run."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`hidden_states [batch, tokens, width]` -> the same shape.

        Raises:
            NotImplementedError: a mask, which no text-to-image pipeline here passes.
        """
        if attention_mask is not None:
            raise NotImplementedError("attention masks are not exported")
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.to_q(hidden_states)
        mixed = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (query, attn.to_k(context), attn.to_v(context)),
            {"num_heads": attn.heads, "scale": attn.scale},
            dtype=query.dtype,
            shape=query.shape,
            version=1,
        )
        return attn.to_out[0](mixed)  # type: ignore[no-any-return]
