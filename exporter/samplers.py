"""Schedulers as tables of weighted sums, found by running diffusers itself on unit vectors.

Every scheduler here is linear in the start latent, the model's outputs and the fresh noises. So a
run in which the k-th of these is the k-th unit vector yields, at each step, the coefficients of
the next latent. They are rewritten as short sums over what is at hand (`_LOCAL`), because a row
over the whole past would hold 2n terms.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)

from exporter.unit_runs import Name, UnitRun, Vector, noised, unit_run
from runtime.errors import BrushletError
from runtime.manifest import Restart, SamplerStep, SamplerTable, SamplerTables, Term

MAX_STEPS = 50
_EXACT = 1e-9  # largest deviation of a rewritten row from the run, over float64 unit vectors
_LARGEST = 100.0  # a row with larger weights would cancel digits in float32
_NOTHING = 1e-14  # a smaller weight is the solver's rounding
_DIGITS = 12  # of a weight; latents are float32, which has seven


@dataclass(frozen=True)
class Recipe:
    """A sampler people know by name, as a diffusers scheduler with options."""

    title: str
    scheduler: Any
    options: Mapping[str, Any]
    default_steps: int


RECIPES = {
    "ddim": Recipe("DDIM", DDIMScheduler, {"clip_sample": False, "thresholding": False}, 25),
    "euler": Recipe("Euler", EulerDiscreteScheduler, {}, 25),
    "euler_ancestral": Recipe("Euler ancestral", EulerAncestralDiscreteScheduler, {}, 25),
    "dpmpp_2m_karras": Recipe(
        "DPM++ 2M Karras",
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
        20,
    ),
    "unipc": Recipe("UniPC", UniPCMultistepScheduler, {}, 20),
    "lcm": Recipe("LCM", LCMScheduler, {"clip_sample": False, "thresholding": False}, 4),
}

# Offsets from the current call i of what a row may use, the shortest that is exact being taken.
# One-step methods need the first, two-step ones (DPM++ 2M) the second; UniPC corrects the latent
# before it predicts, which reaches back one or two calls more.
_LOCAL: tuple[tuple[range, range], ...] = (
    (range(0, 1), range(0, 1)),
    (range(-1, 1), range(-1, 1)),
    (range(0, 1), range(-3, 1)),
    (range(-1, 1), range(-3, 1)),
    (range(-2, 1), range(-3, 1)),
    (range(-3, 1), range(-3, 1)),
)


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """The diffusers scheduler of a recipe, on a base's `scheduler_config.json`."""
    recipe = RECIPES[name]
    return recipe.scheduler.from_config(dict(config), **recipe.options)


def sampler_tables(
    name: str,
    config: Mapping[str, Any],
    step_counts: range,
    on_table: Callable[[], None],
) -> SamplerTables:
    """One table per step count. `on_table` is called after each.

    Raises:
        BrushletError: a row cannot be written exactly; the scheduler is not linear.
    """
    tables = {}
    for steps in step_counts:
        tables[str(steps)] = sampler_table(name, config, steps)
        on_table()
    return SamplerTables(name=name, tables=tables)


def sampler_table(name: str, config: Mapping[str, Any], steps: int) -> SamplerTable:
    """The run of `steps` model calls; raises as `sampler_tables`."""
    scheduler = make_scheduler(name, config)
    where = f"{name}, {steps} steps"
    rows: list[SamplerStep] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some schedulers warn about fewer steps than their order
        scheduler.set_timesteps(steps)
        for i, run in unit_run(scheduler):
            row = SamplerStep(
                timestep=float(scheduler.timesteps[i]),
                input=_row(run, run.inputs[i], [[("x", i)]], where),
                next=_row(run, run.vectors["x", i + 1], _candidates(run, i, 0), where),
                noise=("z", i) in run.vectors,
            )
            rows.append(row)
        restarts = [_restart(scheduler, rows, k, f"{where} from {k}") for k in range(steps)]
    return SamplerTable(
        start_scale=float(scheduler.init_noise_sigma), steps=rows, restarts=restarts
    )


def _restart(scheduler: Any, rows: list[SamplerStep], begin: int, where: str) -> Restart:
    """The run from model call `begin` on, as far as it differs from the whole run's `rows`.

    Multistep methods begin anew with a lower order and climb; once a row is the whole run's, so
    are all after it.
    """
    image, noise = map(_rounded, noised(scheduler, begin))
    others: list[list[Term]] = []
    for i, run in unit_run(scheduler, begin):
        after = run.vectors["x", i + 1]
        if _error(_sum(rows[i].next, run), after) < _EXACT:
            break
        others.append(_row(run, after, _candidates(run, i, begin), where))
    return Restart(image=image, noise=noise, next=others)


def _sum(terms: list[Term], run: UnitRun) -> Vector:
    """What a row gives in a run; NaN where it names what is not there."""
    nothing = np.full_like(run.vectors["x", max(run.inputs)], np.nan)
    total = np.zeros_like(nothing)
    for kind, i, weight in terms:
        total += weight * run.vectors.get((kind, i), nothing)
    return total


def _candidates(run: UnitRun, i: int, begin: int) -> Iterator[list[Name]]:
    """What the latent after call i may be a sum of, the smallest set first."""
    for xs, es in _LOCAL:
        names: list[Name] = [("x", i + k) for k in xs]
        names += [("e", i + k) for k in es]
        yield [name for name in [*names, ("z", i)] if name in run.vectors]
    yield [name for name in run.vectors if name == ("x", begin) or (name[0] != "x")]


def _row(run: UnitRun, target: Vector, candidates: Iterable[list[Name]], where: str) -> list[Term]:
    """`target` as a weighted sum of the first set of candidates that gives it exactly."""
    for names in candidates:
        basis = np.stack([run.vectors[name] for name in names], axis=1)
        weights = np.linalg.lstsq(basis, target, rcond=1e-12)[0]
        weights[np.abs(weights) < _NOTHING] = 0.0
        if _error(basis @ weights, target) < _EXACT and np.abs(weights).max() < _LARGEST:
            return [
                (kind, index, _rounded(weight))
                for (kind, index), weight in zip(names, weights, strict=True)
                if weight
            ]
    raise BrushletError(
        "this scheduler is not a weighted sum of what it has seen",
        where=where,
        todo="leave the sampler out",
    )


def _rounded(weight: float) -> float:
    return float(f"{weight:.{_DIGITS}g}")


def _error(found: Vector, target: Vector) -> float:
    return float(np.abs(found - target).max() / max(1.0, np.abs(target).max()))
