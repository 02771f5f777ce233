"""Traces a UNet, with a LoRA input pair at every slot, into one fp32 ONNX graph."""

import logging
import warnings
from typing import Any

import onnx_ir as ir
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn.functional import conv2d

from exporter.attention import FusedAttention
from exporter.sinusoid import ExactTimesteps
from exporter.slots import input_names, transformer_paths
from runtime.errors import BrushletError

OPSET = 18  # what torch's exporter writes without conversion; every onnxruntime-web runs it
Adapters = dict[str, tuple[torch.Tensor, torch.Tensor]]


def slot_widths(unet: nn.Module) -> dict[str, tuple[int, int]]:
    """Slot path -> (in, out), for the `transformer` slot set, in module order.

    Raises:
        BrushletError: the UNet has no such module.
    """
    modules = dict(unet.named_modules())
    weights = {path: modules[path].weight for path in transformer_paths(modules)}
    if not weights:
        raise BrushletError(
            "the UNet has no transformer blocks, so no LoRA can attach",
            todo="use a Stable Diffusion 1.x or 2.x base",
        )
    return {path: (int(w.shape[1]), int(w.shape[0])) for path, w in weights.items()}


class Projection(nn.Module):
    """A Linear whose weight is stored `[in, out]`, as a MatMul node wants it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().T.contiguous(), requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x [..., in]` -> `[..., out]`."""
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class Slot(nn.Module):
    """A module with a low-rank detour: base(x) + (x @ A) @ B."""

    def __init__(self, base: nn.Module, path: str, adapters: Adapters) -> None:
        super().__init__()
        self.base = base
        self.path = path
        self.adapters = adapters  # shared by all slots, filled before each forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x [..., in]`, or `[batch, in, h, w]` where the base is a 1x1 convolution."""
        A, B = self.adapters[self.path]
        if isinstance(self.base, nn.Conv2d):
            detour = conv2d(conv2d(x, A.T[:, :, None, None]), B.T[:, :, None, None])
        else:
            detour = (x @ A) @ B
        return self.base(x) + detour  # type: ignore[no-any-return]


class SlottedUNet(nn.Module):
    """A UNet rebuilt in place for tracing: fused attention, `[in, out]` weights, slots."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet
        self.adapters: Adapters = {}
        self.widths = slot_widths(unet)
        for path, module in list(unet.named_modules()):
            replacement = Projection(module) if isinstance(module, nn.Linear) else module
            if path in self.widths:
                replacement = Slot(replacement, path, self.adapters)
            if replacement is not module:
                parent, _, name = path.rpartition(".")
                setattr(unet.get_submodule(parent), name, replacement)
        unet.set_attn_processor(FusedAttention())
        unet.time_proj = ExactTimesteps(unet.time_proj)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        adapters: Adapters,
    ) -> torch.Tensor:
        """The denoiser, `sample [batch, channels, h, w]` -> the same shape."""
        self.adapters.update(adapters)
        return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)[0]  # type: ignore[no-any-return]


def trace(unet: UNet2DConditionModel) -> ir.Model:
    """The UNet as an fp32 graph with slots; `unet` is rebuilt in place and cannot run afterwards.

    Inputs `sample [batch, C, height, width]`, `timestep [1]`, `encoder_hidden_states [batch,
    tokens, D]`, all float32, then `<path>.lora_A [in, rank]` and `<path>.lora_B [rank, out]` per
    slot; output `out_sample`. Batch, height, width, tokens and rank are free.
    """
    slotted = SlottedUNet(unet).eval()
    config: Any = unet.config
    factor = 2 ** (len(config.block_out_channels) - 1)  # picture sizes the down path can halve
    batch = torch.export.Dim("batch", max=63)  # diffusers' Upsample2D branches at 64
    height, width, tokens, rank = map(torch.export.Dim, ("height", "width", "tokens", "rank"))
    # Sizes that differ from one another and from every width, so that none is taken for another.
    size = factor * 6, factor * 10
    sample = torch.zeros(2, config.in_channels, *size)
    context = torch.zeros(2, 7, config.cross_attention_dim)
    adapters = {
        path: (torch.zeros(ins, 3), torch.zeros(3, outs))
        for path, (ins, outs) in slotted.widths.items()
    }
    names = ["sample", "timestep", "encoder_hidden_states"]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's exporter warns about its own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # and that torchvision is missing
        program = torch.onnx.export(
            slotted,
            (sample, torch.ones(1), context),
            kwargs={"adapters": adapters},
            input_names=names + [name for path in adapters for name in input_names(path)],
            output_names=["out_sample"],
            dynamic_shapes={
                "sample": {0: batch, 2: factor * height, 3: factor * width},
                "timestep": None,
                "encoder_hidden_states": {0: batch, 1: tokens},
                "adapters": {path: ({1: rank}, {0: rank}) for path in adapters},
            },
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph = program.model.graph
    for value, channels in (
        (graph.inputs[0], config.in_channels),
        (graph.outputs[0], config.out_channels),
    ):  # torch would write `2*height`
        value.shape = ir.Shape(["batch", channels, "height", "width"])
    initializers = graph.initializers.values()
    # `unet.mid_block...to_q.base.weight` -> the module path that diffusers knows
    names = [str(value.name).removeprefix("unet.").replace(".base.", ".") for value in initializers]
    ir.convenience.rename_values(list(initializers), names)
    return program.model
