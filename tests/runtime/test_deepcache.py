from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runtime.deepcache import DeepCache
from runtime.errors import BrushletError
from runtime.pipeline import Pipeline
from tests.parity.reference import SCHEDULERS, Reference, relative_error

PROMPT, NEGATIVE, SCALE, STEPS = "a castle, clouds", "dark", 4.0, 7


@contextmanager
def last_layer_given(unet: Any, deep: dict[str, torch.Tensor], whole: bool) -> Iterator[None]:
    """The UNet's last ResNet block is given other deep channels, or its own are kept in `deep`.

    It sees them side by side with the first convolution's output, which is never old.
    """
    block = unet.up_blocks[-1].resnets[-1]
    skip = unet.conv_in.out_channels

    def given(_module: object, args: tuple[Any, ...]) -> tuple[Any, ...]:
        states, *rest = args
        if whole:
            deep["channels"] = states[:, :-skip]
            return args
        return (torch.cat([deep["channels"], states[:, -skip:]], dim=1), *rest)

    handle = block.register_forward_pre_hook(given)
    yield
    handle.remove()


@torch.no_grad()
def by_hand(reference: Reference, interval: int, guided: range) -> np.ndarray:
    """PyTorch, with old deep channels on the calls between; everything is computed all the same."""
    kind, options = SCHEDULERS["ddim"]
    scheduler = kind.from_config(reference.scheduler_config, **options)
    scheduler.set_timesteps(STEPS)
    reference.style({"wiggle": 0.7})
    both = torch.from_numpy(reference.embeddings(PROMPT, NEGATIVE))
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(3))
    deep: dict[str, torch.Tensor] = {}
    last: tuple[int, bool] | None = None
    for i, timestep in enumerate(scheduler.timesteps):
        with_guidance = i in guided
        whole = last is None or last[1] != with_guidance or i - last[0] >= interval
        last = (i, with_guidance) if whole else last
        states = both if with_guidance else both[1:]
        with last_layer_given(reference.unet, deep, whole):
            out = reference.unet(latents.repeat(len(states), 1, 1, 1), timestep, states).sample
        if with_guidance:
            out = out[:1] + SCALE * (out[1:] - out[:1])
        latents = scheduler.step(out, timestep, latents).prev_sample
    return latents.numpy()


@pytest.mark.parametrize(("interval", "fractions"), [(2, (0.0, 1.0)), (3, (0.0, 0.6))], ids=str)
def test_a_run_with_old_deep_features_is_pytorchs(
    interval: int,
    fractions: tuple[float, float],
    pipeline: Pipeline,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
) -> None:
    guided = range(int(fractions[0] * STEPS), int(fractions[1] * STEPS))
    expected = by_hand(Reference(tiny_base, tiny_loras), interval, guided)
    asked = {"negative_prompt": NEGATIVE, "guidance_scale": SCALE, "sampler": "ddim", "seed": 3}
    asked |= {"styles": {"wiggle": 0.7}, "steps": STEPS, "guidance_range": fractions}
    found = pipeline.generate(PROMPT, **asked, cache_interval=interval).latents
    assert relative_error(found, expected) <= 1e-5
    assert relative_error(pipeline.generate(PROMPT, **asked).latents, expected) > 1e-3
    merged = pipeline.generate(PROMPT, **(asked | {"styles": {"wiggle-merged": 0.8}}))
    short = asked | {"styles": {"wiggle-merged": 0.8}, "cache_interval": interval}
    assert 1e-4 < relative_error(pipeline.generate(PROMPT, **short).latents, merged.latents) < 1


def test_which_calls_are_whole() -> None:
    cache, one, other = DeepCache[str](3), object(), object()
    owners = [one, one, one, one, other, other, one]
    whole = []
    for owner in owners:
        whole.append(cache.take(owner) is None)
        if whole[-1]:
            cache.keep(owner, "features")
    assert whole == [True, False, False, True, True, False, True]


def test_an_interval_of_nothing_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(BrushletError, match="cache interval of 0"):
        pipeline.generate(PROMPT, steps=2, cache_interval=0)
