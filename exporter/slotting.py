"""Puts slots into a UNet: which modules get one, and how a slot computes."""

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn.functional import conv2d

from exporter.slots import Kind, SlotSet, SlotShape, slot_paths
from runtime.errors import BrushletError

Adapters = dict[str, tuple[torch.Tensor, torch.Tensor]]
TOKENS = 77  # of a prompt; CLIP's, in every Stable Diffusion 1.x and 2.x


def slot_shapes(unet: nn.Module, slot_set: SlotSet = "transformer") -> dict[str, SlotShape]:
    """Slot path -> its shape, in module order.

    Raises:
        BrushletError: the UNet has no such module.
    """
    modules = dict(unet.named_modules())
    slots = {path: modules[path] for path in slot_paths(modules, slot_set)}
    if not slots:
        raise BrushletError(
            "the UNet has no transformer blocks, so no LoRA can attach",
            todo="use a Stable Diffusion 1.x or 2.x base",
        )
    return {path: _shape(path, module) for path, module in slots.items()}


def is_projection(path: str, module: nn.Module) -> bool:
    """Whether a module becomes a matrix product: Linear, and the 1x1 convolutions in and out of
    a transformer, whose rows are laid out for it anyway."""
    return isinstance(module, nn.Linear) or path.endswith((".proj_in", ".proj_out"))


def _shape(path: str, module: Any) -> SlotShape:
    kind: Kind = "linear"
    if isinstance(module, nn.Conv2d):
        kind = "conv1x1" if module.kernel_size == (1, 1) else "conv3x3"
    outs = int(module.weight.shape[0])
    return SlotShape(kind, module.weight.numel() // outs, outs, is_projection(path, module))


class Detour(nn.Module):
    """A slot beside its module: base(x) + (x @ A) @ B. Costs by the activation, at each step."""

    def __init__(self, base: nn.Module, path: str, adapters: Adapters) -> None:
        super().__init__()
        self.base = base
        self.path = path
        self.adapters = adapters  # shared by all slots, filled before each forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x [..., in]`, or `[batch, in, h, w]` where the base is a convolution."""
        A, B = self.adapters[self.path]
        if isinstance(self.base, nn.Conv2d):
            down = A.T.reshape(-1, *self.base.weight.shape[1:])
            reduced = conv2d(x, down, None, self.base.stride, self.base.padding)
            detour = conv2d(reduced, B.T[:, :, None, None])
        else:
            detour = (x @ A) @ B
        return self.base(x) + detour  # type: ignore[no-any-return]


class Fold(nn.Module):
    """A slot inside its module: x @ (W + A @ B), the sum one Gemm node.

    The sum costs by W's size, but once per style (`exporter.hoisting`); a step costs what it does
    without a slot.
    """

    def __init__(self, base: nn.Module, path: str, adapters: Adapters) -> None:
        super().__init__()
        self.base = base
        self.path = path
        self.adapters = adapters
        if isinstance(base, nn.Conv2d):
            self.kernel = base.weight.shape
            # [out, in * kernel], or torch's exporter would store a weight that it folds itself
            base.weight = nn.Parameter(base.weight.detach().flatten(1), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x [..., in]`, or `[batch, in, h, w]` where the base is a convolution."""
        A, B = self.adapters[self.path]
        weight: Any = self.base.weight
        bias: Any = self.base.bias
        if isinstance(self.base, nn.Conv2d):
            folded = _gemm(B, A, weight, transposed=True).reshape(self.kernel)
            return conv2d(x, folded, bias, self.base.stride, self.base.padding)
        y = x @ _gemm(A, B, weight)
        return y if bias is None else y + bias


def _gemm(
    left: torch.Tensor, right: torch.Tensor, addend: torch.Tensor, transposed: bool = False
) -> torch.Tensor:
    """left @ right + addend, or left.T @ right.T + addend, as a Gemm node; can only be traced."""
    attributes: dict[str, Any] = {"transA": int(transposed), "transB": int(transposed)}
    return torch.onnx.ops.symbolic(
        "Gemm", (left, right, addend), attributes, dtype=addend.dtype, shape=addend.shape
    )


def folded_slots(
    unet: UNet2DConditionModel, slot_set: SlotSet, quantised: bool = False
) -> set[str]:
    """The slots whose weight is smaller than what flows through them at the model's own size.

    At rank r a detour multiplies rows * (in + out) * r and a fold in * out * r: rows are the
    pixels or text tokens of a guided step (batch 2), counted by a run without data. A quantised
    weight takes no sum: LoRAs stay in floating point, beside it.
    """
    config: Any = unet.config
    with torch.device("meta"):
        twin = UNet2DConditionModel.from_config(unet.config)
        size = config.sample_size
        sample = torch.zeros(2, config.in_channels, size, size)
        context = torch.zeros(2, TOKENS, config.cross_attention_dim)
    folded = set()

    def decide(path: str, shape: SlotShape, y: torch.Tensor) -> None:
        rows = y.numel() // shape.outs
        if rows * (shape.ins + shape.outs) > shape.ins * shape.outs:
            folded.add(path)

    for path, shape in slot_shapes(twin, slot_set).items():
        if quantised and shape.transposed:
            continue
        twin.get_submodule(path).register_forward_hook(
            lambda _module, _inputs, y, path=path, shape=shape: decide(path, shape, y)
        )
    twin(sample, torch.ones(1, device="meta"), context)
    return folded
