"""Runs a sampler table: a scheduler as weighted sums (see `manifest.SamplerTable`)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from runtime.errors import BadFile, BrushletError
from runtime.manifest import SamplerStep, SamplerTable, Term
from runtime.tensors import Float32

Denoise = Callable[[Float32, float], Float32]
OnStep = Callable[[int, Float32], None]


@dataclass(frozen=True)
class Over:
    """The picture that a run begins over: its latents, and the first model call, from 0."""

    latents: Float32
    first: int


def first_call(steps: int, strength: float) -> int:
    """Where image-to-image begins: `get_timesteps` of diffusers' StableDiffusionImg2ImgPipeline.

    Args:
        steps: of the whole run.
        strength: the part of it that is run; 1 leaves nothing of the picture but its colours.

    Raises:
        BrushletError: no such part, or one of no steps.
    """
    if not 0 < strength <= 1:
        todo = "choose one above 0 and up to 1"
        raise BrushletError(f"a picture cannot be changed with the strength {strength}", todo=todo)
    calls = min(int(steps * strength), steps)
    if calls == 0:
        what = f"the image strength {strength} leaves none of {steps} steps to run"
        raise BrushletError(what, todo="raise the strength or the steps")
    return steps - calls


def run(
    table: SamplerTable,
    noise: Callable[[], Float32],
    denoise: Denoise,
    on_step: OnStep | None = None,
    over: Over | None = None,
) -> Float32:
    """Denoises from pure noise, or over a picture, to latents.

    Args:
        table: the run.
        noise: fresh standard normal noise in the latents' shape; called for the start and then
            for each step that draws, in order, as diffusers does.
        denoise: (model input, timestep) -> raw model output after guidance, all in that shape.
        on_step: called with (model calls done, latents) after each call.
        over: image-to-image.

    Returns:
        The final latents, float32. Sums are taken in float64 and rounded once.

    Raises:
        BadFile: a step names a term that does not exist at that point.
    """
    first, latents, steps = _start(table, noise, over)
    last_use: dict[tuple[str, int], int] = {
        (kind, index): number
        for number, step in enumerate(steps, first)
        for kind, index, _ in [*step.input, *step.next]
    }
    basis: dict[tuple[str, int], Float32] = {("x", first): latents}

    def weighted(terms: list[Term]) -> Float32:
        if missing := [f"{kind}{index}" for kind, index, _ in terms if (kind, index) not in basis]:
            what = f"step {number} uses {missing[0]}, which does not exist yet"
            raise BadFile(what, where="sampler table", todo="export the bundle again")
        total = sum(weight * basis[kind, index].astype(float) for kind, index, weight in terms)
        return np.asarray(total, np.float32)

    for number, step in enumerate(steps, first):
        basis["e", number] = denoise(weighted(step.input), step.timestep)
        if step.noise:
            basis["z", number] = noise()
        latents = basis["x", number + 1] = weighted(step.next)
        for term in [term for term in basis if last_use.get(term, 0) <= number]:
            del basis[term]
        if on_step:
            on_step(number + 1 - first, latents)
    return latents


def _start(
    table: SamplerTable, noise: Callable[[], Float32], over: Over | None
) -> tuple[int, Float32, list[SamplerStep]]:
    """The first call's number, the latents before it, and the steps from there."""
    if over is None:
        return 0, np.float32(table.start_scale) * noise(), table.steps
    restart = table.restarts[over.first]
    latents = restart.image * over.latents.astype(float) + restart.noise * noise().astype(float)
    steps = table.steps[over.first :]
    for i, terms in enumerate(restart.next):
        steps[i] = steps[i].model_copy(update={"next": terms})
    return over.first, np.asarray(latents, np.float32), steps
