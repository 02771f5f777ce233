from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.packs import stack
from runtime.tensors import Float32
from runtime.unet import Prepared, UNet

LIMIT = 1e-5  # of max abs reference; design, section 6; measured 1.2e-6


@pytest.fixture(scope="module")
def base(bundle: Bundle) -> UNet:
    return UNet(bundle, bundle.manifest.variant("base"))


def step(width: int = 8) -> tuple[Float32, Float32]:
    random = np.random.default_rng(2)
    sample = random.normal(size=(2, 4, 8, width)).astype(np.float32)
    return sample, random.normal(size=(2, 77, 32)).astype(np.float32)


def prepared(
    unet: UNet, bundle: Bundle, states: Float32, styles: dict[str, float] | None = None
) -> Prepared:
    packs = [(bundle.style_pack(name), strength) for name, strength in (styles or {}).items()]
    return unet.prepare(states, stack(packs, bundle.slot_table()))


def assert_close(found: Float32, expected: torch.Tensor, limit: float = LIMIT) -> None:
    reference = expected.numpy()
    assert np.abs(found - reference).max() <= limit * np.abs(reference).max()


@pytest.mark.parametrize("timestep", [981.0, 501.0, 21.0])
def test_without_styles_it_is_the_base(
    timestep: float, bundle: Bundle, base: UNet, tiny_unet: UNet2DConditionModel
) -> None:
    sample, states = step()
    expected = tiny_unet(torch.from_numpy(sample), timestep, torch.from_numpy(states)).sample
    for styles in ({}, {"wiggle": 0.0, "wobble": 0.0}):
        ready = prepared(base, bundle, states, styles)
        assert_close(base.predict(sample, timestep, ready), expected)


@pytest.mark.parametrize(
    "styles", [{"wiggle": 1.0}, {"wobble": 0.4}, {"wiggle": 0.7, "wobble": -0.5}], ids=str
)
def test_styles_are_peft_adapters(
    styles: dict[str, float],
    bundle: Bundle,
    base: UNet,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base, torch_dtype=torch.float32)
    for name in styles:
        path = tiny_loras[name]
        pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name=name)
    pipeline.set_adapters(list(styles), list(styles.values()))
    sample, states = step(width=16)
    with torch.no_grad():
        expected = pipeline.unet(torch.from_numpy(sample), 501, torch.from_numpy(states)).sample
    assert_close(base.predict(sample, 501, prepared(base, bundle, states, styles)), expected)


def test_a_merged_style_is_the_external_one(bundle: Bundle, base: UNet) -> None:
    sample, states = step()
    merged = UNet(bundle, bundle.manifest.variant("wiggle-merged"))
    external = base.predict(sample, 501, prepared(base, bundle, states, {"wiggle": 0.8}))
    # Merged weights are rounded to fp16 once more: measured 4e-4.
    found = merged.predict(sample, 501, merged.prepare(states, {}))
    assert_close(found, torch.from_numpy(external), 2e-3)


def test_guidance_leads_away_from_the_negative_prompt(bundle: Bundle, base: UNet) -> None:
    sample, states = step()
    one, unguided = sample[:1], prepared(base, bundle, states[1:])
    negative = base.predict(one, 501, prepared(base, bundle, states[:1]))
    positive = base.predict(one, 501, unguided)
    found = base.guided(one, 501, prepared(base, bundle, states), 3)
    assert_close(found, torch.from_numpy(negative + 3 * (positive - negative)))
    assert_close(base.guided(one, 501, unguided, 3), torch.from_numpy(positive))


def test_latents_that_the_graph_cannot_take_are_told(bundle: Bundle, base: UNet) -> None:
    sample, states = step()
    with pytest.raises(BrushletError, match=r"latents of the shape \[2, 3, 8, 8\].*\[n, 4, h, w\]"):
        base.predict(sample[:, :3], 501, prepared(base, bundle, states))
