from pathlib import Path

import numpy as np
import pytest
import torch

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.guidance import guided_calls
from runtime.pipeline import Pipeline
from runtime.unet import UNet
from tests.parity.reference import SCHEDULERS, Reference, relative_error

PROMPT, NEGATIVE, SCALE = "a castle, clouds", "dark", 4.0


@torch.no_grad()
def by_hand(
    reference: Reference, sampler: str, steps: int, guided: set[int], styles: dict[str, float]
) -> np.ndarray:
    """PyTorch, with guidance on some steps only."""
    kind, options = SCHEDULERS[sampler]
    scheduler = kind.from_config(reference.scheduler_config, **options)
    scheduler.set_timesteps(steps)
    reference.style(styles)
    negative, positive = torch.from_numpy(reference.embeddings(PROMPT, NEGATIVE)).split(1)
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn((1, 4, 8, 8), generator=generator) * scheduler.init_noise_sigma
    for i, timestep in enumerate(scheduler.timesteps):
        sample = scheduler.scale_model_input(latents, timestep)
        out = reference.unet(sample, timestep, positive).sample
        if i in guided:
            unguided = reference.unet(sample, timestep, negative).sample
            out = unguided + SCALE * (out - unguided)
        latents = scheduler.step(out, timestep, latents).prev_sample
    return latents.numpy()


@pytest.mark.parametrize(
    ("fractions", "guided"),
    [((0.25, 0.75), {2, 3, 4, 5}), ((0.3, 1.0), {2, 3, 4, 5, 6, 7}), ((0.5, 0.5), set())],
    ids=str,
)
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m_karras"])
def test_guidance_in_a_part_of_the_run_is_pytorchs(
    sampler: str,
    fractions: tuple[float, float],
    guided: set[int],
    pipeline: Pipeline,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
) -> None:
    styles = {"wiggle": 0.7}
    expected = by_hand(Reference(tiny_base, tiny_loras), sampler, 8, guided, styles)
    asked = {"negative_prompt": NEGATIVE, "guidance_scale": SCALE, "sampler": sampler}
    found = pipeline.generate(
        PROMPT, **asked, guidance_range=fractions, styles=styles, steps=8, seed=3
    ).latents
    assert relative_error(found, expected) <= 1e-5


def test_a_call_without_guidance_sees_one_embedding(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what it is for: such a call costs half."""
    batches: list[int] = []
    predict = UNet.predict

    def watched(self: UNet, sample: np.ndarray, *args: object) -> np.ndarray:
        batches.append(len(sample))
        return predict(self, sample, *args)

    monkeypatch.setattr(UNet, "predict", watched)
    pipeline.generate(PROMPT, steps=6, guidance_scale=SCALE, guidance_range=(0.2, 0.7))
    assert batches == [1, 2, 2, 2, 1, 1]


def test_what_is_no_part_of_a_run_is_told(pipeline: Pipeline, lcm_bundle: Path) -> None:
    for fractions in ((0.5, 0.2), (-0.1, 1), (0, 1.5), (float("nan"), 1)):
        with pytest.raises(BrushletError, match="two fractions of the run"):
            pipeline.generate(PROMPT, steps=2, guidance_range=fractions)
    with pytest.raises(BrushletError, match=r"is told the guidance.*leave the guidance range out"):
        Pipeline(Bundle.open(lcm_bundle)).generate(PROMPT, steps=2, guidance_range=(0.2, 0.8))


def test_rounding_is_that_of_diffusers_guiders(pipeline: Pipeline) -> None:
    from diffusers.guiders import ClassifierFreeGuidance

    model = pipeline.bundle.manifest.model
    for fractions in ((0.0, 1.0), (0.29, 0.8), (0.1, 0.3), (0.7, 0.7)):
        for calls in (1, 7, 10, 50, 100):
            guider = ClassifierFreeGuidance(SCALE, start=fractions[0], stop=fractions[1])
            theirs = []
            for i in range(calls):
                guider.set_state(i, calls, torch.tensor(0))
                theirs += [i] if guider.num_conditions == 2 else []
            assert list(guided_calls(fractions, calls, SCALE, model)) == theirs
