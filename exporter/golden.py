"""Golden vectors: UNet steps computed by PyTorch in fp32 with diffusers' own modules."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import conv2d

from exporter.parity import TOLERANCE
from exporter.slots import SlotShape, input_names
from exporter.slotting import TOKENS
from exporter.staging import Stage
from runtime.manifest import Golden
from runtime.noise import Generator
from runtime.tensors import Float32, dump_tensors

LORA_SEED = 1
LORA_RANK = 4
LORA_STD = 0.05  # changes a step visibly without drowning the base
_INPUT_SEED = 0
_LARGEST = 16  # latent pixels a side: a browser checks itself in well under a second
# Fractions of the training timesteps: the first step of a run, its middle, its last.
_NOISE_LEVELS = {"high noise": 0.98, "middle noise": 0.5, "low noise": 0.02}
GOLDEN_LEVEL = "middle noise"  # the step a bundle carries; the gate measures the others too
_ODD_LEVEL = "high noise"  # of a size that no level of the UNet can halve

Feeds = dict[str, Float32]


def golden_inputs(config: Mapping[str, Any], num_train_timesteps: int) -> dict[str, Feeds]:
    """Noise level -> `sample [2, C, h, w]`, `timestep [1]`, `encoder_hidden_states [2, T, D]`.

    And `timestep_cond [2, F]` where the UNet is told the guidance. Height and width differ, so that
    a graph that swaps them is caught.
    """
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    height = min(config["sample_size"], _LARGEST) // factor * factor or factor
    width = height // 2 // factor * factor or height
    generator = Generator(_INPUT_SEED)
    sample = generator.randn((2, config["in_channels"], height, width))
    odd = np.ascontiguousarray(sample[:, :, : max(height - 1, 1), : max(width - 1, 1)])
    context = generator.randn((2, TOKENS, config["cross_attention_dim"]))
    cond = config.get("time_cond_proj_dim")
    guidance = {"timestep_cond": np.sin(generator.randn((2, cond)))} if cond else {}
    return {
        level: {
            "sample": odd if level == _ODD_LEVEL else sample,
            "timestep": np.array([int(share * num_train_timesteps)], np.float32),
            "encoder_hidden_states": context,
            **guidance,
        }
        for level, share in _NOISE_LEVELS.items()
    }


def golden_lora(shapes: Mapping[str, SlotShape]) -> Feeds:
    """The LoRA that `manifest.Golden` describes, as graph inputs, for slots of these shapes."""
    generator = Generator(LORA_SEED)
    feeds: Feeds = {}
    for path, shape in shapes.items():
        name_a, name_b = input_names(path)
        feeds[name_a] = generator.randn((shape.ins, LORA_RANK)) * np.float32(LORA_STD)
        feeds[name_b] = generator.randn((LORA_RANK, shape.outs)) * np.float32(LORA_STD)
    return feeds


def reference_step(unet: Any, feeds: Mapping[str, Float32], lora: Feeds | None = None) -> Float32:
    """One step of a diffusers UNet, `out_sample [2, C, h, w]`, with a LoRA hooked on."""
    tensors = {name: torch.from_numpy(feeds[name]) for name in feeds}
    with torch.no_grad(), _one_thread(), _widened(unet), hooked(unet, lora or {}):
        output = unet(
            tensors["sample"],
            tensors["timestep"],
            tensors["encoder_hidden_states"],
            timestep_cond=tensors.get("timestep_cond"),
            return_dict=False,
        )[0]
    return output.numpy()  # type: ignore[no-any-return]


def write_golden(stage: Stage, variant: str, feeds: Feeds, out_sample: Float32) -> Golden:
    """Stages a golden vector."""
    data = dump_tensors({**feeds, "out_sample": out_sample}, {})
    return Golden(
        file=stage.add(f"golden-{variant}", ".safetensors", data),
        lora_seed=LORA_SEED,
        lora_rank=LORA_RANK,
        lora_std=LORA_STD,
        tolerance_fp32=TOLERANCE["fp32"],
        tolerance_fp16=TOLERANCE["fp16"],
    )


@contextmanager
def _widened(model: nn.Module) -> Iterator[None]:
    """Makes fp16 weights compute in fp32, widened while their layer runs."""
    narrow: dict[nn.Parameter, torch.Tensor] = {}

    def widen(module: nn.Module, _args: object) -> None:
        for parameter in module.parameters(recurse=False):
            narrow[parameter] = parameter.data
            parameter.data = parameter.data.float()

    def restore(module: nn.Module, _args: object, _output: object) -> None:
        for parameter in module.parameters(recurse=False):
            parameter.data = narrow.pop(parameter)

    handles = []
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(widen))
        handles.append(module.register_forward_hook(restore, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _one_thread() -> Iterator[None]:
    """The number of threads changes the last digits, and so the golden vector's name."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def hooked(model: nn.Module, lora: Feeds) -> Iterator[None]:
    """Adds a LoRA, as graph inputs, to what the model's modules compute."""
    handles = []
    for path, module in model.named_modules():
        a, b = input_names(path)
        if a in lora:
            A, B = torch.from_numpy(lora[a]), torch.from_numpy(lora[b])
            handles.append(module.register_forward_hook(_detour(A, B)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _detour(A: torch.Tensor, B: torch.Tensor) -> Any:
    def hook(module: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        if isinstance(module, nn.Conv2d):
            kernel = (A @ B).T.reshape(module.weight.shape)
            return output + conv2d(args[0], kernel, None, module.stride, module.padding)
        return output + (args[0] @ A) @ B

    return hook
