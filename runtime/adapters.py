"""What an adapter does to a layer's weight: one class per kind of LoRA file, each its formula.

LoHa and LoKr, which are products of products, are in `runtime/products.py`.

Weights are `[out, in]` or `[out, in, kh, kw]`, as PyTorch has them; formulas see them flattened to
W `[out, fan_in]` with fan_in = in * kh * kw, in the order of `weight.reshape(out, -1)`.

Strength s. Where the change is a sum, W' = W + s * dW, as everywhere. Where it is not, programs
differ; all agree at s = 1, and here s = 0 is always the base: see `DoraModule` and `Ia3Module`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from runtime.tensors import Array, Float32

Kernel = tuple[int, ...]  # () where a file gives the weight flat


@dataclass(frozen=True)
class LowRank:
    """A slot's adapter as graphs take it: A [fan_in, rank], B [rank, out], alpha / rank in B."""

    A: Float32
    B: Float32

    def apply(self, weight: Array, strength: float) -> Float32:
        """W' = W + s * (A @ B)^T, in fp32."""
        return _added(weight, (self.A @ self.B).T, strength)


class Adapter(ABC):
    """One layer's part of a LoRA file."""

    kind: ClassVar[str]
    obstacle: ClassVar[str]  # why there may be no exact low-rank form

    @property
    @abstractmethod
    def rank(self) -> int | None:
        """As alpha / rank counts it; None where there is none."""

    @abstractmethod
    def fits(self, ins: int, area: int, outs: int) -> bool:
        """Whether it is for a layer of these channels; `area` is kh * kw."""

    @property
    @abstractmethod
    def size(self) -> str:
        """Its widths, for people."""

    def low_rank(self) -> LowRank | None:
        """The exact low-rank form, or None where there is none of a rank below the layer's own."""
        return None

    @abstractmethod
    def apply(self, weight: Array, strength: float) -> Float32:
        """The merged weight, in fp32 and in the shape of `weight`."""

    @property
    def touches_bias(self) -> bool:
        """Whether it changes the layer's bias too."""
        return False

    def apply_bias(self, bias: Float32, strength: float) -> Float32:
        """The merged bias `[out]`; `strength` as of the weight."""
        del strength
        return bias


class Sum(Adapter):
    """A kind whose change does not depend on the weight: W' = W + s * dW."""

    alpha: float | None
    scalar: float

    @property
    @abstractmethod
    def ins(self) -> int:
        """fan_in: input channels times the kernel's area."""

    @property
    @abstractmethod
    def outs(self) -> int:
        """Output channels."""

    @property
    @abstractmethod
    def kernel(self) -> Kernel:
        """The kernel's sides, as far as the file tells."""

    @property
    def scale(self) -> float:
        """alpha / rank, times LyCORIS' `scalar`; no alpha means alpha = rank (kohya)."""
        ratio = 1.0 if self.alpha is None or self.rank is None else self.alpha / self.rank
        return ratio * self.scalar

    @abstractmethod
    def delta(self) -> Float32:
        """dW `[out, fan_in]`."""

    def added(self, x: Float32) -> Float32:
        """What the layer's output gains, x @ dW^T `[n, out]` for rows `x [n, fan_in]`."""
        gain: Float32 = x @ self.delta().T
        return gain

    def apply(self, weight: Array, strength: float) -> Float32:  # noqa: D102
        return _added(weight, self.delta(), strength)

    def fits(self, ins: int, area: int, outs: int) -> bool:  # noqa: D102
        same_kernel = not self.kernel or int(np.prod(self.kernel)) == area
        return (self.ins, self.outs) == (ins * area, outs) and same_kernel

    @property
    def size(self) -> str:  # noqa: D102
        return _size(self.ins, self.outs, self.kernel)

    @property
    def full_rank(self) -> int:
        """The highest rank that a matrix of this shape can have."""
        return min(self.ins, self.outs)


@dataclass(frozen=True)
class LoraModule(Sum):
    """LoRA (arXiv:2106.09685), LoCon where it has a kernel: dW = alpha / rank * up @ down.

    `down [rank, in]` or `[rank, in, kh, kw]`, `up [out, rank]`, with two more axes of 1 or not.
    A Tucker core (`lora_mid`) is already folded into `down`, which leaves the rank as it is.
    """

    kind = "LoRA"
    down: Array
    up: Array
    alpha: float | None
    scalar: float = 1.0

    @property
    def rank(self) -> int:
        """The width of the bottleneck."""
        return int(self.down.shape[0])

    @property
    def ins(self) -> int:
        """Inputs of one output pixel."""
        return int(np.prod(self.down.shape[1:]))

    @property
    def outs(self) -> int:
        """Output channels."""
        return int(self.up.shape[0])

    @property
    def kernel(self) -> Kernel:
        """Of `down`."""
        return tuple(self.down.shape[2:])

    def low_rank(self) -> LowRank:
        """A = down^T, B = alpha / rank * up^T, but for powers of two (`low_rank_of`)."""
        return low_rank_of(
            self.up.reshape(self.outs, self.rank), self.down.reshape(self.rank, -1), self.scale
        )

    def added(self, x: Float32) -> Float32:
        """Through the bottleneck, as the layer was trained."""
        down = wide(self.down).reshape(self.rank, -1)
        up = wide(self.up).reshape(self.outs, self.rank)
        return wide(self.scale * ((x @ down.T) @ up.T))

    def delta(self) -> Float32:
        """Alpha / rank * up @ down."""
        adapter = self.low_rank()
        return (adapter.A @ adapter.B).T


@dataclass(frozen=True)
class DoraModule(Adapter):
    """DoRA (arXiv:2402.09353) over any sum: V = W + dW, W_dora = V * magnitude / ||V||.

    `magnitude [n]`. The norm is taken over all axes but `axis`: per output channel in PEFT
    (`lora_magnitude_vector`, `peft/tuners/lora/dora.py`) and in LyCORIS (`dora_scale [out, 1...]`,
    `wd_on_out`), per input channel where LyCORIS' `dora_scale` is `[1, in...]`, as older ones are.

    W' = W + s * (W_dora - W), as in A1111, in ComfyUI and in LyCORIS' `apply_dora_scale`, so that
    0 is the base and 1 what was trained. Others leave a change at s = 0: LyCORIS' `merge_to` is
    V * (1 + s * (magnitude / ||V|| - 1)), which is W + dW there; PEFT scales only dW inside V.
    """

    kind = "DoRA"
    obstacle = "it rescales the base weight"
    change: Sum
    magnitude: Float32
    axis: Literal["out", "in"]

    @property
    def rank(self) -> int | None:
        """Of the sum."""
        return self.change.rank

    @property
    def size(self) -> str:  # noqa: D102
        return f"{self.change.size} with {self.magnitude.size} magnitudes over {self.axis}puts"

    def fits(self, ins: int, area: int, outs: int) -> bool:  # noqa: D102
        channels = outs if self.axis == "out" else ins
        return self.change.fits(ins, area, outs) and self.magnitude.size == channels

    def apply(self, weight: Array, strength: float) -> Float32:  # noqa: D102
        W = wide(weight)
        V = self.change.apply(weight, 1.0)  # fp32
        if self.axis == "out":
            V = V.reshape(len(weight), 1, -1)
            norm = np.linalg.norm(V, axis=2, keepdims=True)
            magnitude = self.magnitude[:, None, None]
        else:
            V = V.reshape(len(weight), self.magnitude.size, -1)
            norm = np.sqrt(np.square(V).sum(axis=(0, 2), keepdims=True))
            magnitude = self.magnitude[None, :, None]
        # The epsilon is LyCORIS' (`functional.general.weight_decompose`): a row of zeros stays so.
        dora: Float32 = V * (magnitude / (norm + np.finfo(np.float32).eps))
        return W + np.float32(strength) * (dora.reshape(W.shape) - W)


@dataclass(frozen=True)
class Ia3Module(Adapter):
    """(IA)^3 (arXiv:2205.05638): W' = W * (1 + s * vector).

    `vector` runs along the input channels or the output channels (`make_weight` of LyCORIS'
    `IA3Module`). PEFT (`peft/tuners/ia3/layer.py`) keeps 1 + vector, and multiplies the whole
    output with it, the bias too: `scales_bias`.
    """

    kind = "(IA)^3"
    obstacle = "it multiplies the base weight"
    vector: Float32
    on_input: bool
    scales_bias: bool = False
    rank = None

    @property
    def size(self) -> str:  # noqa: D102
        return f"for {self.vector.size} {'inputs' if self.on_input else 'outputs'}"

    def fits(self, ins: int, area: int, outs: int) -> bool:  # noqa: D102
        return self.vector.size == (ins if self.on_input else outs)

    def apply(self, weight: Array, strength: float) -> Float32:  # noqa: D102
        factor = 1 + np.float32(strength) * self.vector
        factor = factor[None, :, None] if self.on_input else factor[:, None, None]
        channels = self.vector.size if self.on_input else 1
        W = wide(weight).reshape(len(weight), channels, -1)
        return (W * factor).reshape(weight.shape)

    @property
    def touches_bias(self) -> bool:  # noqa: D102
        return self.scales_bias

    def apply_bias(self, bias: Float32, strength: float) -> Float32:  # noqa: D102
        return bias * (1 + np.float32(strength) * self.vector) if self.scales_bias else bias


@dataclass(frozen=True)
class BiasedModule(Adapter):
    """Any kind with a difference of the bias beside it (LyCORIS' `full`): b' = b + s * bias."""

    kind = "weight and bias"
    obstacle = "it changes the layer's bias, for which graphs have no input"
    change: Adapter
    bias: Float32

    @property
    def rank(self) -> int | None:
        """Of what changes the weight."""
        return self.change.rank

    @property
    def size(self) -> str:  # noqa: D102
        return f"{self.change.size} with a bias of {self.bias.size}"

    def fits(self, ins: int, area: int, outs: int) -> bool:  # noqa: D102
        return self.change.fits(ins, area, outs) and self.bias.size == outs

    def apply(self, weight: Array, strength: float) -> Float32:  # noqa: D102
        return self.change.apply(weight, strength)

    @property
    def touches_bias(self) -> bool:  # noqa: D102
        return True

    def apply_bias(self, bias: Float32, strength: float) -> Float32:  # noqa: D102
        return bias + np.float32(strength) * self.bias


@dataclass(frozen=True)
class FullModule(Sum):
    """A full difference (LyCORIS' `full`, or extracted): dW = diff."""

    kind = "full difference"
    obstacle = "it is a full matrix"
    diff: Array
    rank = None
    alpha = None
    scalar = 1.0

    @property
    def ins(self) -> int:
        """Inputs of one output pixel."""
        return int(np.prod(self.diff.shape[1:]))

    @property
    def outs(self) -> int:
        """Output channels."""
        return int(self.diff.shape[0])

    @property
    def kernel(self) -> Kernel:
        """Of `diff`."""
        return tuple(self.diff.shape[2:])

    def delta(self) -> Float32:
        """The difference, flat."""
        return wide(self.diff).reshape(self.outs, -1)


def wide(array: Array) -> Float32:
    """In fp32."""
    with np.errstate(over="ignore"):  # of a float64; what is infinite then is refused later
        return array.astype(np.float32)


def _added(weight: Array, delta: Float32, strength: float) -> Float32:
    return wide(weight) + (np.float32(strength) * delta).reshape(weight.shape)


def low_rank_of(up: Array, down: Array, scale: float) -> LowRank:
    """A = down^T, B = scale * up^T, each rank's size spread evenly over both by a power of two.

    That is exact. Packs are fp16, and a small scale (alpha 1 at rank 128), or the product of two
    small factors, would leave B below its normal numbers (6e-5).
    """
    A = np.ascontiguousarray(down.T, np.float32)
    B = np.ascontiguousarray(scale * up.T.astype(float), np.float32)
    largest_a, largest_b = np.abs(A).max(axis=0), np.abs(B).max(axis=1)
    used = (largest_a > 0) & (largest_b > 0) & np.isfinite(largest_a) & np.isfinite(largest_b)
    ratio = np.divide(largest_b, largest_a, where=used, out=np.ones_like(largest_a))
    power = np.exp2(np.round(np.log2(ratio) / 2)).astype(np.float32)
    return LowRank(A * power, B / power[:, None])


def _size(ins: int, outs: int, kernel: Kernel) -> str:
    area = int(np.prod(kernel))
    suffix = "" if area == 1 else f" ({'x'.join(map(str, kernel))})"
    return f"{ins // area} -> {outs}{suffix}"
