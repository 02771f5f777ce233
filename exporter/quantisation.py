"""`DTYPE=q8` and `q4`: the UNet's projections in 8 or 4 bits, all else in fp16.

A weight `[in, out]` is cut along `in` into blocks of 32, each W = (q - z) * scale with unsigned
integers q, z = 2 ** (bits - 1) and one fp16 scale: what `MatMulNBits` computes with where it is
given no zero points (onnxruntime's `docs/ContribOperators.md`), and how onnxruntime's own quantiser
rounds, whose scale too makes the largest element of a block -z * scale.

Rounding what is rounded changes nothing. So PyTorch, the graphs and a merge each round by
themselves and mean the same weight.
"""

from typing import NamedTuple

import numpy as np

from runtime.manifest import Dtype
from runtime.tensors import Array, Float32

BITS: dict[Dtype, int] = {"q8": 8, "q4": 4}
BLOCK = 32  # weights a scale; every provider has a kernel for it


class Packed(NamedTuple):
    """A weight as `MatMulNBits` reads it.

    Codes `[out, ceil(in / 32), 32 * bits / 8]` uint8, of four bits the even element in the lower
    half of a byte; scales `[out, ceil(in / 32)]` fp16.
    """

    codes: Array
    scales: Array


def pack(weight: Array, bits: int) -> Packed:
    """Quantises a weight `[in, out]`, rounded to the nearest."""
    ins, outs = weight.shape
    blocks = np.zeros((outs, -(-ins // BLOCK) * BLOCK), np.float32)
    blocks[:, :ins] = weight.T
    blocks = blocks.reshape(outs, -1, BLOCK)
    middle = 1 << (bits - 1)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)
    scales = _towards_zero(largest / -middle)
    # of a block of zeros, or too small for fp16, the middle
    steps = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    codes = np.clip(np.rint(steps) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        codes = codes[..., ::2] | codes[..., 1::2] << 4
    return Packed(codes, scales[..., 0])


def unpack(packed: Packed, bits: int, ins: int) -> Float32:
    """The weight `[in, out]` that codes and scales stand for, exact in fp32."""
    codes = packed.codes
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], BLOCK)
    blocks = (codes.astype(np.float32) - (1 << (bits - 1))) * packed.scales[..., None]
    weight: Float32 = blocks.reshape(len(codes), -1)[:, :ins].T
    return weight


def rounded(weight: Array, bits: int) -> Float32:
    """A weight `[in, out]` as its quantised form has it."""
    return unpack(pack(weight, bits), bits, len(weight))


def _towards_zero(scales: Array) -> Array:
    """Cast to fp16. Never up, so that the largest element takes the code 0 and, rounded again,
    gives the same scale."""
    halves = scales.astype(np.float16)
    up = np.abs(halves.astype(np.float32)) > np.abs(scales)
    halves[up] = np.nextafter(halves[up], np.float16(0))
    return halves
