import pytest
import torch
from diffusers.models.embeddings import Timesteps

from exporter.sinusoid import ExactTimesteps


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("shift", [0, 1])
def test_it_is_diffusers_sinusoid(flip: bool, shift: int) -> None:
    theirs = Timesteps(64, flip_sin_to_cos=flip, downscale_freq_shift=shift)
    steps = torch.cat([torch.arange(0, 1000.0), torch.tensor([0.3, 951.25, 998.999])])
    ours = ExactTimesteps(theirs)(steps)
    # The angle itself is rounded to float32 in both; 999 has an ulp of 6e-5.
    exact = torch.sin(steps.double()[:, None] * ExactTimesteps(theirs).frequencies.double())
    sines = ours[:, 32:] if flip else ours[:, :32]
    assert (ours - theirs(steps)).abs().max() <= 2e-6
    assert (sines.double() - exact).abs().max() <= 4e-5
