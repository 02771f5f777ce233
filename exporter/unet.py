"""Traces a UNet, with a LoRA input pair at every slot, into one fp32 ONNX graph."""

from typing import Any

import onnx_ir as ir
import torch
from diffusers import Transformer2DModel, UNet2DConditionModel
from torch import nn

from exporter.attention import FusedAttention
from exporter.hoisting import DEEP
from exporter.sinusoid import ExactTimesteps
from exporter.slots import SlotSet, input_names
from exporter.slotting import Adapters, Detour, Fold, folded_slots, is_projection, slot_shapes
from exporter.traces import trace_module
from exporter.upsampling import upsample_by_size

_READ = 1 << 14  # elements: tracing computes with smaller parameters, of others it takes the shape


class Projection(nn.Module):
    """A matrix product whose weight is stored `[in, out]`, as a MatMul node wants it."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        weight = module.weight.detach().flatten(1).T
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = module.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x [..., in]` -> `[..., out]`."""
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class SlottedUNet(nn.Module):
    """A UNet rebuilt in place for tracing: fused attention, `[in, out]` weights, slots."""

    def __init__(self, unet: UNet2DConditionModel, slot_set: SlotSet, quantised: bool) -> None:
        super().__init__()
        self.unet = unet
        self.adapters: Adapters = {}
        self.deep: dict[str, torch.Tensor] = {}
        self.shapes = slot_shapes(unet, slot_set)
        folded = folded_slots(unet, slot_set, quantised)
        for path, module in list(unet.named_modules()):
            if isinstance(module, Transformer2DModel):
                module.use_linear_projection = True
            replacement = Projection(module) if is_projection(path, module) else module
            if path in self.shapes:
                slot = Fold if path in folded else Detour
                replacement = slot(replacement, path, self.adapters)
            if replacement is not module:
                parent, _, name = path.rpartition(".")
                setattr(unet.get_submodule(parent), name, replacement)
        upsample_by_size(unet)
        unet.set_attn_processor(FusedAttention())
        unet.time_proj = ExactTimesteps(unet.time_proj)
        _deepest(unet).register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: object, output: Any) -> None:
        self.deep[DEEP] = output if isinstance(output, torch.Tensor) else output[0]

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        adapters: Adapters,
        timestep_cond: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The denoiser, `sample [batch, in_channels, h, w]` -> `[batch, out_channels, h, w]`.

        And what all but its outermost layers give, `[batch, C, h, w]` (see `hoisting.shortcut`).
        """
        self.adapters.update(adapters)
        inputs = sample, timestep, encoder_hidden_states
        out_sample = self.unet(*inputs, timestep_cond=timestep_cond, return_dict=False)[0]
        return out_sample, self.deep.pop(DEEP)


def trace(unet: UNet2DConditionModel, slot_set: SlotSet, quantised: bool = False) -> ir.Model:
    """The UNet as an fp32 graph with slots, its large weights those of `unet`, in their dtypes.

    Inputs `sample [batch, C, height, width]`, `timestep [1]`, `encoder_hidden_states [batch,
    tokens, D]`, all float32, then `<path>.lora_A [in, rank]` and `<path>.lora_B [rank, out]` per
    slot, and `timestep_cond [batch, F]` where the UNet is told the guidance; outputs `out_sample`
    and `deep_features`, both of the sample's height and width.
    Batch, height, width, tokens and rank are free. `quantised`: no projection's slot is folded.
    """
    slotted = SlottedUNet(_twin(unet), slot_set, quantised).eval()
    config: Any = unet.config
    factor = 2 ** (
        len(config.block_out_channels) - 1
    )  # keeps the traced sizes apart at every level
    batch = torch.export.Dim("batch", max=63)  # diffusers branches at 64
    height, width, tokens, rank = map(torch.export.Dim, ("height", "width", "tokens", "rank"))
    # Sizes that differ from one another and from every width, so that none is taken for another.
    size = factor * 6, factor * 10
    sample = torch.zeros(2, config.in_channels, *size)
    context = torch.zeros(2, 7, config.cross_attention_dim)
    adapters = {
        path: (torch.zeros(shape.ins, 3), torch.zeros(3, shape.outs))
        for path, shape in slotted.shapes.items()
    }
    names = ["sample", "timestep", "encoder_hidden_states"]
    names += [name for path in adapters for name in input_names(path)]
    inputs: dict[str, Any] = {"adapters": adapters}
    free: dict[str, Any] = {"adapters": {path: ({1: rank}, {0: rank}) for path in adapters}}
    if config.time_cond_proj_dim:
        names.append("timestep_cond")
        inputs["timestep_cond"] = torch.zeros(2, config.time_cond_proj_dim)
        free["timestep_cond"] = {0: batch}
    model = trace_module(
        slotted,
        (sample, torch.ones(1), context),
        inputs,
        config=config,
        input_names=names,
        output_names=["out_sample", DEEP],
        dynamic_shapes={
            "sample": {0: batch, 2: height, 3: width},
            "timestep": None,
            "encoder_hidden_states": {0: batch, 1: tokens},
            **free,
        },
    )
    graph = model.graph
    for value, channels in (
        (graph.inputs[0], config.in_channels),
        (graph.outputs[0], config.out_channels),
        (graph.outputs[1], graph.outputs[1].shape[1]),  # type: ignore[index]
    ):  # by the names of the contract, whatever torch calls them
        value.shape = ir.Shape(["batch", channels, "height", "width"])
    initializers = list(graph.initializers.values())
    # `unet.mid_block...to_q.base.weight` -> the module path that diffusers knows
    names = [str(value.name).removeprefix("unet.").replace(".base.", ".") for value in initializers]
    ir.convenience.rename_values(initializers, names)
    parameters = dict(unet.named_parameters())
    for value in initializers:
        parameter = parameters.get(str(value.name))
        if parameter is not None and parameter.numel() > _READ:
            value.const_value = _laid_out(unet, parameter, value)
    return model


def _deepest(unet: UNet2DConditionModel) -> nn.Module:
    """The module whose output meets the outermost skip connection, in the last layer there is."""
    block: Any = unet.up_blocks[-1]
    layers = getattr(block, "attentions", None) or block.resnets
    return layers[-2]  # type: ignore[no-any-return]


def _twin(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The UNet in fp32 without its large weights: in their place one number each, spread out.

    No zero, for torch's exporter removes a Gemm's addend of zeros; each its own, for it joins equal
    weights.
    """
    with torch.device("meta"):
        twin: UNet2DConditionModel = UNet2DConditionModel.from_config(unet.config)
    for number, (name, own) in enumerate(unet.named_parameters(), start=1):
        path, _, leaf = name.rpartition(".")
        small = own.numel() <= _READ
        data = own.detach().float() if small else torch.tensor(float(number)).expand(own.shape)
        setattr(twin.get_submodule(path), leaf, nn.Parameter(data, requires_grad=False))
    return twin


def _laid_out(
    unet: UNet2DConditionModel, parameter: nn.Parameter, value: ir.Value
) -> ir.TensorProtocol:
    """A parameter in the layout of the initializer that stands for it."""
    path, _, name = str(value.name).rpartition(".")
    weight = parameter.detach()
    if name == "weight" and is_projection(path, unet.get_submodule(path)):
        weight = weight.flatten(1).T
    assert value.shape is not None
    return ir.tensor(weight.reshape(value.shape.numpy()).numpy(), name=value.name)
