"""Standard normal noise equal to `torch.randn` on a seeded CPU generator.

Source: PyTorch's `ATen/core/MT19937RNGEngine.h`, `ATen/core/DistributionsHelper.h` and
`ATen/native/cpu/DistributionTemplates.h` (normal_fill).
"""

import math
from collections.abc import Sequence

import numpy as np

from runtime.errors import BrushletError
from runtime.tensors import Float32

_Float64 = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

BLOCK = 16  # torch transforms uniforms in blocks of this many; fewer values take a scalar path


class Generator:
    """The stream of `torch.Generator().manual_seed(seed)`: a draw continues where the last ended.

    Args:
        seed: -2**63 to 2**64 - 1. Like torch's, the Mersenne Twister uses its lower 32 bits.

    Raises:
        BrushletError: a seed outside that range.
    """

    def __init__(self, seed: int) -> None:
        if not -(2**63) <= seed < 2**64:
            todo = "choose one from -2**63 to 2**64 - 1"
            raise BrushletError(f"the seed {seed} has more than 64 bits", todo=todo)
        # NumPy's legacy generator is init_genrand(seed) and its stream is frozen (NEP 19).
        self._twister = np.random.RandomState(seed % 2**32)
        self._spare: float | None = None  # the scalar path draws pairs

    def randn(self, shape: Sequence[int]) -> Float32:
        """The next `torch.randn(shape)`: float32, within 1e-6 of torch's."""
        size = math.prod(shape)
        values = self._blocks(size) if size >= BLOCK else self._scalars(size)
        return values.astype(np.float32).reshape(tuple(shape))

    def _blocks(self, size: int) -> _Float64:
        uniforms = self._uniform24(size)
        whole = size - size % BLOCK
        values = np.empty(size)
        values[:whole] = _box_muller(uniforms[:whole])
        if whole < size:  # the last block is drawn anew and reaches back into the one before
            values[-BLOCK:] = _box_muller(self._uniform24(BLOCK))
        return values

    def _scalars(self, size: int) -> _Float64:
        return np.array([self._scalar() for _ in range(size)])

    def _scalar(self) -> float:
        if self._spare is not None:
            value, self._spare = self._spare, None
            return value
        u1, u2 = self._uniform53(), self._uniform53()
        radius, theta = math.sqrt(-2 * math.log1p(-u2)), 2 * math.pi * u1
        self._spare = radius * math.sin(theta)
        return radius * math.cos(theta)

    def _bits(self, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
        return self._twister.randint(0, 2**32, count, dtype=np.uint32)

    def _uniform24(self, count: int) -> _Float64:
        return (self._bits(count) & 0xFFFFFF) / 2.0**24

    def _uniform53(self) -> float:
        high, low = self._bits(2).tolist()
        return float((high << 32 | low) & (2**53 - 1)) / 2.0**53


def _box_muller(uniforms: _Float64) -> _Float64:
    """Each block of 16: u1 = 1 - u[0:8], u2 = u[8:16] -> eight cosines, then eight sines."""
    u1, u2 = 1 - uniforms.reshape(-1, 2, 8)[:, 0], uniforms.reshape(-1, 2, 8)[:, 1]
    # The angle is rounded to float32, as torch's is: 4.8e-7 from torch; 1.9e-6 without.
    theta = (np.float32(2 * np.pi) * u2.astype(np.float32)).astype(float)
    radius = np.sqrt(-2 * np.log(u1))
    return np.stack([radius * np.cos(theta), radius * np.sin(theta)], axis=1).reshape(-1)
