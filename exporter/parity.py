"""The gate at the end of every export: graphs run by onnxruntime against what they must give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from runtime.errors import ParityMissed
from runtime.manifest import Measurement
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

    def measurement(self) -> Measurement:
        """As the manifest keeps it; further digits vary with the machine."""
        return Measurement(
            what=self.what,
            error=float(f"{self.error:.1e}"),
            cosine=round(self.cosine, 7),
            tolerance=self.tolerance,
        )

    @property
    def passed(self) -> bool:
        """Whether both promises hold; NaN does not pass."""
        return self.error <= self.tolerance and self.cosine >= COSINE


def compare(what: str, output: Array, reference: Array, tolerance: float) -> Parity:
    """Measures `output` against `reference`, both of the same shape. Only zero is near zero."""
    a, b = output.astype(float).ravel(), reference.astype(float).ravel()
    if not a.any() and not b.any():
        return Parity(what, error=0.0, cosine=1.0, tolerance=tolerance)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    largest = float(np.abs(b).max())
    return Parity(
        what,
        error=float(np.abs(a - b).max()) / largest if largest else float("inf"),
        cosine=float(a @ b) / norms if norms else float("nan"),
        tolerance=tolerance,
    )


def worst(what: str, measured: Sequence[Parity]) -> Parity:
    """The largest error and the smallest cosine of several of one tolerance; NaN is worst."""
    errors, cosines = zip(*((one.error, one.cosine) for one in measured), strict=True)
    tolerance = measured[0].tolerance
    return Parity(what, float(np.max(errors)), float(np.min(cosines)), tolerance)


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
    """Graphs on onnxruntime's CPU provider, run in turn. Their shards must lie beside them."""

    def __init__(self, *paths: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Weights are widened as they are needed, and let go: those of Stable Diffusion 1.5 take
        # 3.4 GB. Other optimizations than these fold them, or copy them into another layout.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False  # would hold what all of them take at once
        self.sessions = [
            onnxruntime.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=["ConstantFolding"],
            )
            for path in paths
        ]

    def __call__(self, feeds: Mapping[str, Array]) -> Float32:
        """The first output of the last graph, see `outputs`."""
        output: Float32 = next(iter(self.outputs(feeds).values()))
        return output

    def outputs(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the last graph, in its order; see `each`."""
        return self.each(feeds)[-1]

    def each(self, feeds: Mapping[str, Array]) -> list[dict[str, Array]]:
        """All outputs of each graph, in its order. A graph takes outputs of those before it by
        name; feeds that none has an input for are left out."""
        known, given = dict(feeds), []
        for session in self.sessions:
            names = [value.name for value in session.get_inputs()]
            outputs = session.run(None, {name: known[name] for name in names})
            found = [value.name for value in session.get_outputs()]
            given.append(dict(zip(found, outputs, strict=True)))
            known |= given[-1]
        return given
