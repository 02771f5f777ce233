"""The gate at the end of every export: graphs run by onnxruntime against what they must give."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from runtime.errors import ParityMissed
from runtime.tensors import Array, Float32

TOLERANCE = {"fp32": 1e-5, "fp16": 5e-3}  # of the reference's largest value (DESIGN.md, section 6)
COSINE = 0.9999


@dataclass(frozen=True)
class Parity:
    """How far an output is from its reference."""

    what: str
    error: float  # largest deviation over largest absolute reference value
    cosine: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether both promises hold; NaN does not pass."""
        return self.error <= self.tolerance and self.cosine >= COSINE


def compare(what: str, output: Array, reference: Array, tolerance: float) -> Parity:
    """Measures `output` against `reference`, both of the same shape."""
    a, b = output.astype(float).ravel(), reference.astype(float).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return Parity(
        what,
        error=float(np.abs(a - b).max() / np.abs(b).max()),
        cosine=float(a @ b) / norms if norms else float("nan"),
        tolerance=tolerance,
    )


def gate(measured: list[Parity]) -> list[Parity]:
    """Returns what it was given.

    Raises:
        ParityMissed: a measurement is outside its tolerance; all such are named.
    """
    missed = [parity for parity in measured if not parity.passed]
    if missed:
        faults = "; ".join(
            f"{parity.what}: error {parity.error:.2e} (allowed {parity.tolerance:.0e}),"
            f" cosine {parity.cosine:.6f}"
            for parity in missed
        )
        raise ParityMissed(
            f"the exported graphs do not compute what PyTorch computes: {faults}",
            todo="the bundle was left as it was; report this with the base model's name",
        )
    return measured


class Runner:
    """A graph on onnxruntime's CPU provider. Its shards must lie beside it."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of every Cast it folds
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, feeds: Mapping[str, Array]) -> Float32:
        """The graph's first output; feeds that it has no input for are left out."""
        names = [value.name for value in self.session.get_inputs()]
        output: Float32 = self.session.run(None, {name: feeds[name] for name in names})[0]
        return output
