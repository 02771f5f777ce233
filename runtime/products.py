"""LoHa and LoKr: adapters whose change is an elementwise or a Kronecker product of two products.

Both have an exact low-rank form, whose rank is the product of the two ranks. They offer it where
that is below the layer's own rank. Beyond, a pack would be up to twice the weights that it changes;
only narrow layers, such as `conv_out` with its 4 outputs, then give their plain matrix.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from runtime.adapters import Kernel, LowRank, Sum, low_rank_of, wide
from runtime.tensors import Array, Float32


@dataclass(frozen=True)
class LohaModule(Sum):
    """LoHa (FedPara, arXiv:2108.06098): dW = alpha / rank * (up1 @ down1) * (up2 @ down2).

    `up [out, rank]`, `down [rank, fan_in]`; Tucker cores are folded into the downs.
    The scale counts once, as in LyCORIS' forward pass, PEFT, A1111 and ComfyUI; LyCORIS' own merge
    (4.1.3, `LohaModule.get_diff_weight`) multiplies by it twice. The same holds for LoKr.
    """

    kind = "LoHa"
    obstacle = "of rank^2 not below the layer's own rank"
    up1: Array
    down1: Array
    up2: Array
    down2: Array
    alpha: float | None
    kernel: Kernel = ()
    scalar: float = 1.0

    @property
    def rank(self) -> int:
        """Of each of the two products."""
        return int(self.down1.shape[0])

    @property
    def ins(self) -> int:
        """Inputs of one output pixel."""
        return int(self.down1.shape[1])

    @property
    def outs(self) -> int:
        """Output channels."""
        return int(self.up1.shape[0])

    def delta(self) -> Float32:
        """The elementwise product of the two products."""
        up1, down1, up2, down2 = map(wide, (self.up1, self.down1, self.up2, self.down2))
        return np.float32(self.scale) * (up1 @ down1) * (up2 @ down2)

    def low_rank(self) -> LowRank | None:
        """Rank^2: (U V) * (X Y) = (U khatri-rao X) (V khatri-rao Y), by rows and by columns."""
        if self.rank**2 >= self.full_rank:
            return _matrix_of_narrow(self)
        up1, down1, up2, down2 = map(wide, (self.up1, self.down1, self.up2, self.down2))
        up = (up1[:, :, None] * up2[:, None, :]).reshape(self.outs, -1)
        down = (down1[:, None, :] * down2[None, :, :]).reshape(-1, self.ins)
        return low_rank_of(up, down, self.scale)


class Factors(NamedTuple):
    """A matrix: `left`, or `left @ right`."""

    left: Array
    right: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        columns = self.left if self.right is None else self.right
        return int(self.left.shape[0]), int(columns.shape[1])

    @property
    def rank(self) -> int:
        """The highest rank that the matrix can have."""
        inner = [] if self.right is None else [int(self.left.shape[1])]
        return min(*self.shape, *inner)

    def matrix(self) -> Float32:
        """The matrix itself."""
        left = wide(self.left)
        return left if self.right is None else left @ wide(self.right)

    def shortest(self) -> tuple[Float32, Float32]:
        """Two factors whose product it is, of inner width `rank`."""
        if self.right is not None and self.left.shape[1] == self.rank:
            return wide(self.left), wide(self.right)
        matrix = self.matrix()
        identity = np.eye(self.rank, dtype=np.float32)
        rows, columns = self.shape
        return (matrix, identity) if columns <= rows else (identity, matrix)


@dataclass(frozen=True)
class LokrModule(Sum):
    """LoKr (LyCORIS, arXiv:2309.14859): dW = alpha / rank * w1 kron w2.

    `w1 [a, c]` and `w2 [b, d * kh * kw]` for a weight `[a * b, c * d, kh, kw]`; a Tucker core is
    folded into w2. `rank` is that of whichever is a product; None, and scale 1, where neither is.
    """

    kind = "LoKr"
    obstacle = "of w1's times w2's rank not below the layer's own"
    w1: Factors
    w2: Factors
    alpha: float | None
    kernel: Kernel = ()
    scalar: float = 1.0

    @property
    def rank(self) -> int | None:
        """The inner width of the products."""
        for factors in (self.w2, self.w1):
            if factors.right is not None:
                return int(factors.right.shape[0])
        return None

    @property
    def ins(self) -> int:
        """Inputs of one output pixel."""
        return self.w1.shape[1] * self.w2.shape[1]

    @property
    def outs(self) -> int:
        """Output channels."""
        return self.w1.shape[0] * self.w2.shape[0]

    def delta(self) -> Float32:
        """The Kronecker product."""
        return np.kron(np.float32(self.scale) * self.w1.matrix(), self.w2.matrix())

    def low_rank(self) -> LowRank | None:
        """The ranks multiply: (U V) kron (X Y) = (U kron X) (V kron Y)."""
        if self.w1.rank * self.w2.rank >= self.full_rank:
            return _matrix_of_narrow(self)
        (left1, right1), (left2, right2) = self.w1.shortest(), self.w2.shortest()
        return low_rank_of(np.kron(left1, left2), np.kron(right1, right2), self.scale)


def _matrix_of_narrow(change: Sum) -> LowRank | None:
    """dW beside an identity, where that is at most a quarter more than dW alone, else None."""
    if 4 * change.full_rank > max(change.ins, change.outs):
        return None
    delta, identity = change.delta(), np.eye(change.full_rank, dtype=np.float32)
    up, down = (identity, delta) if change.outs <= change.ins else (delta, identity)
    return low_rank_of(up, down, 1.0)
