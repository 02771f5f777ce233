"""Inner layers of the denoiser computed on some model calls only (DeepCache, arXiv:2312.00858).

Between neighbouring steps a UNet's inner layers give nearly the same. So a call may take what they
gave on an earlier one, and computes its outermost layers alone.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from runtime.errors import BrushletError

Features = TypeVar("Features")


@dataclass
class DeepCache(Generic[Features]):
    """The deep features of the last call that was whole. `interval`: every how many calls one is.

    Raises:
        BrushletError: no such interval.
    """

    interval: int
    _features: Features | None = None
    _owner: object = None
    _age: int = field(default=0)

    def __post_init__(self) -> None:
        if self.interval < 1:
            todo = "choose 1 for whole calls alone, 2 for every other one, and so on"
            raise BrushletError(f"a cache interval of {self.interval} is none", todo=todo)

    def take(self, owner: object) -> Features | None:
        """What the next call may use; None: it has to be whole.

        `owner`: what the call is prepared with; of another one's features nothing can be used.
        """
        self._age += 1
        fresh = self._features is not None and self._owner is owner and self._age < self.interval
        return self._features if fresh else None

    def keep(self, owner: object, features: Features) -> None:
        """Of a whole call."""
        self._features, self._owner, self._age = features, owner, 0
