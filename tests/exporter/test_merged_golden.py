from pathlib import Path

import numpy as np
import torch

from runtime.bundle import Bundle
from runtime.golden import golden_feeds
from tests.conftest import MERGED_STRENGTH
from tests.parity.reference import merged_unet


@torch.no_grad()
def test_it_is_the_step_of_the_unet_that_peft_fuses(
    bundle: Bundle, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    variant = bundle.manifest.variant("wiggle-merged")
    feeds, expected = golden_feeds(bundle, variant)
    assert not [name for name in feeds if ".lora_" in name]
    unet = merged_unet(tiny_base, tiny_loras["wiggle"], MERGED_STRENGTH)
    inputs = [
        torch.from_numpy(feeds[name]) for name in ("sample", "timestep", "encoder_hidden_states")
    ]
    found = unet(*inputs).sample.numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
