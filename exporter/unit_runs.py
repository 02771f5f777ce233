"""A diffusers scheduler run on unit vectors: what every latent is made of.

The start latent, each model output and each fresh noise is a unit vector of its own, so that every
later latent holds its coefficients over all of them.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch

from runtime.errors import BrushletError

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
Name = tuple[Literal["x", "e", "z"], int]


@dataclass
class UnitRun:
    """What has been seen of a run; x, e and z are those of `manifest.SamplerStep`."""

    inputs: dict[int, Vector] = field(default_factory=dict)  # what the model is given
    vectors: dict[Name, Vector] = field(default_factory=dict)


class _Float64(torch.Tensor):
    """A float64 tensor that stays one when a scheduler upcasts to float32 "for precision"."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.to and torch.float32 in args:
            return args[0]
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


def unit_run(scheduler: Any, begin: int = 0) -> Iterator[tuple[int, UnitRun]]:
    """Runs a scheduler whose timesteps are set from model call `begin` on; it is left unchanged.

    Yields:
        The number of each model call, and what has been seen up to the latent after it.

    Raises:
        BrushletError: it draws noise twice in a step.
    """
    scheduler = _begun(scheduler, begin)
    timesteps = scheduler.timesteps[begin:]
    units = iter(np.eye(1 + 2 * len(timesteps)))
    run = UnitRun(vectors={("x", begin): next(units)})
    latents = _tensor(run.vectors["x", begin])
    for i, timestep in enumerate(timesteps, begin):
        run.inputs[i] = _vector(scheduler.scale_model_input(latents, timestep))
        run.vectors["e", i] = next(units)
        with _observed_noise(scheduler) as drawn:
            drawn.unit = next(units)
            output = scheduler.step(_tensor(run.vectors["e", i]), timestep, latents)
        if drawn.count > 1:
            raise BrushletError(f"{type(scheduler).__name__} draws noise twice in a step")
        if drawn.count:
            run.vectors["z", i] = drawn.unit
        latents = output.prev_sample
        run.vectors["x", i + 1] = _vector(latents)
        yield i, run


def noised(scheduler: Any, begin: int) -> tuple[float, float]:
    """The weights of a picture's latents and of noise in a run that begins before a model call."""
    scheduler = _begun(scheduler, begin)
    picture, noise = (_tensor(unit) for unit in np.eye(2))
    start = scheduler.add_noise(picture, noise, scheduler.timesteps[begin : begin + 1])
    weights = _vector(start).tolist()
    return weights[0], weights[1]


def _begun(scheduler: Any, begin: int) -> Any:
    """A scheduler of its own, as diffusers' image-to-image pipeline sets it up."""
    scheduler = copy.copy(scheduler)  # deep, it would copy a thousand alphas for a run of two calls
    for name, value in vars(scheduler).items():
        if isinstance(value, list):  # the past of multistep methods, rewritten in place
            setattr(scheduler, name, list(value))
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    return scheduler


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
