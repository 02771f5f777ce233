"""Schedulers as tables of weighted sums, found by running diffusers itself on unit vectors.

Every scheduler here is linear in the start latent, the model's outputs and the fresh noises. So a
run in which the k-th of these is the k-th unit vector yields, at each step, the coefficients of
the next latent. They are rewritten as short sums over what is at hand (`_LOCAL`), because a row
over the whole past would hold 2n terms.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)

from runtime.errors import BrushletError
from runtime.manifest import SamplerStep, SamplerTable, SamplerTables, Term

MAX_STEPS = 50
_EXACT = 1e-9  # largest deviation of a rewritten row from the run, over float64 unit vectors
_LARGEST = 100.0  # a row with larger weights would cancel digits in float32
_NOTHING = 1e-14  # a smaller weight is the solver's rounding

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
Name = tuple[Literal["x", "e", "z"], int]


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
    step_counts: range = range(1, MAX_STEPS + 1),
    on_table: Callable[[], None] = lambda: None,
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
    run = _unit_run(make_scheduler(name, config), steps)
    where = f"{name}, {steps} steps"
    rows = [
        SamplerStep(
            timestep=timestep,
            input=_row(run, run.inputs[i], [[("x", i)]], where),
            next=_row(run, run.vectors["x", i + 1], _candidates(run, i), where),
            noise=("z", i) in run.vectors,
        )
        for i, timestep in enumerate(run.timesteps)
    ]
    return SamplerTable(start_scale=run.start_scale, steps=rows)


@dataclass
class _Run:
    start_scale: float
    timesteps: list[float]
    inputs: list[Vector]  # what the model is given
    vectors: dict[Name, Vector]  # coefficients of each x, e, z over [x_0, e_0.., z_0..]


class _Float64(torch.Tensor):
    """A float64 tensor that stays one when a scheduler upcasts to float32 "for precision"."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.to and torch.float32 in args:
            return args[0]
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


def _unit_run(scheduler: Any, steps: int) -> _Run:
    width = 1 + 2 * steps
    units = iter(np.eye(width))
    vectors: dict[Name, Vector] = {("x", 0): next(units)}
    inputs: list[Vector] = []
    timesteps: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some schedulers warn about fewer steps than their order
        scheduler.set_timesteps(steps)
        start_scale = float(scheduler.init_noise_sigma)
        latents = _tensor(vectors["x", 0])
        for i, timestep in enumerate(scheduler.timesteps):
            inputs.append(_vector(scheduler.scale_model_input(latents, timestep)))
            timesteps.append(float(timestep))
            vectors["e", i] = next(units)
            with _observed_noise(scheduler) as drawn:
                drawn.unit = next(units)
                output = scheduler.step(_tensor(vectors["e", i]), timestep, latents)
            if drawn.count > 1:
                raise BrushletError(f"{type(scheduler).__name__} draws noise twice in a step")
            if drawn.count:
                vectors["z", i] = drawn.unit
            latents = output.prev_sample
            vectors["x", i + 1] = _vector(latents)
    return _Run(start_scale, timesteps, inputs, vectors)


class _Drawn:
    unit: Vector
    count = 0


@contextmanager
def _observed_noise(scheduler: Any) -> Iterator[_Drawn]:
    """Answers the scheduler's `randn_tensor` calls with a unit vector, and counts them."""
    module: Any = import_module(type(scheduler).__module__)
    drawn = _Drawn()

    def draw(*_: Any, **__: Any) -> torch.Tensor:
        drawn.count += 1
        return _tensor(drawn.unit)

    original = getattr(module, "randn_tensor", None)
    module.randn_tensor = draw
    try:
        yield drawn
    finally:
        module.randn_tensor = original


def _tensor(vector: Vector) -> torch.Tensor:
    # Four axes like latents: UniPC's einsum asks for a batch and a channel.
    return torch.from_numpy(vector.copy()).reshape(1, 1, 1, -1).as_subclass(_Float64)


def _vector(tensor: torch.Tensor) -> Vector:
    vector = tensor.as_subclass(torch.Tensor).reshape(-1).numpy().copy()
    assert vector.dtype == np.float64, "the scheduler rounded the latents"
    return vector


def _candidates(run: _Run, i: int) -> Iterator[list[Name]]:
    """What the latent after call i may be a sum of, the smallest set first."""
    for xs, es in _LOCAL:
        names: list[Name] = [("x", i + k) for k in xs]
        names += [("e", i + k) for k in es]
        yield [name for name in [*names, ("z", i)] if name in run.vectors]
    yield [name for name in run.vectors if name == ("x", 0) or (name[0] != "x" and name[1] <= i)]


def _row(run: _Run, target: Vector, candidates: Iterable[list[Name]], where: str) -> list[Term]:
    """`target` as a weighted sum of the first set of candidates that gives it exactly."""
    for names in candidates:
        basis = np.stack([run.vectors[name] for name in names], axis=1)
        weights = np.linalg.lstsq(basis, target, rcond=1e-12)[0]
        weights[np.abs(weights) < _NOTHING] = 0.0
        error = np.abs(basis @ weights - target).max() / max(1.0, np.abs(target).max())
        if error < _EXACT and np.abs(weights).max() < _LARGEST:
            return [
                (kind, index, float(f"{weight:.15g}"))  # 1.0000000000000002 is 1
                for (kind, index), weight in zip(names, weights, strict=True)
                if weight
            ]
    raise BrushletError(
        "this scheduler is not a weighted sum of what it has seen",
        where=where,
        todo="leave the sampler out",
    )
