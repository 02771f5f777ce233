"""Runs a sampler table: a scheduler as weighted sums (see `manifest.SamplerTable`)."""

from collections.abc import Callable

import numpy as np

from runtime.errors import BadFile
from runtime.manifest import SamplerTable, Term
from runtime.tensors import Float32

Denoise = Callable[[Float32, float], Float32]
OnStep = Callable[[int, Float32], None]


def run(
    table: SamplerTable,
    noise: Callable[[], Float32],
    denoise: Denoise,
    on_step: OnStep | None = None,
) -> Float32:
    """Denoises from pure noise to latents.

    Args:
        table: the run.
        noise: fresh standard normal noise in the latents' shape; called for the start and then
            for each step that draws, in order, as diffusers does.
        denoise: (model input, timestep) -> raw model output after guidance, all in that shape.
        on_step: called with (model calls done, latents) after each call.

    Returns:
        The final latents, float32. Sums are taken in float64 and rounded once.

    Raises:
        BadFile: a step names a term that does not exist at that point.
    """
    last_use: dict[tuple[str, int], int] = {
        (kind, index): number
        for number, step in enumerate(table.steps)
        for kind, index, _ in [*step.input, *step.next]
    }
    basis: dict[tuple[str, int], Float32] = {("x", 0): np.float32(table.start_scale) * noise()}

    def weighted(terms: list[Term]) -> Float32:
        if missing := [f"{kind}{index}" for kind, index, _ in terms if (kind, index) not in basis]:
            what = f"step {number} uses {missing[0]}, which does not exist yet"
            raise BadFile(what, where="sampler table", todo="export the bundle again")
        total = sum(weight * basis[kind, index].astype(float) for kind, index, weight in terms)
        return np.asarray(total, np.float32)

    latents = basis["x", 0]
    for number, step in enumerate(table.steps):
        basis["e", number] = denoise(weighted(step.input), step.timestep)
        if step.noise:
            basis["z", number] = noise()
        latents = basis["x", number + 1] = weighted(step.next)
        for term in [term for term in basis if last_use.get(term, 0) <= number]:
            del basis[term]
        if on_step:
            on_step(number + 1, latents)
    return latents
