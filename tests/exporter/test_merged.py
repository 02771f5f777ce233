from pathlib import Path

import numpy as np

from exporter.export import StyleRequest, export
from exporter.progress import silent
from runtime.bundle import Bundle
from runtime.golden import golden_feeds
from runtime.unet import UNet


def test_at_strength_0_it_is_the_base_and_stores_no_weights(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path]
) -> None:
    before = Bundle.open(dist).manifest
    export(tiny_base, dist, silent, StyleRequest(tiny_loras["wobble"], "merged", strength=0))
    bundle = Bundle.open(dist)
    assert bundle.manifest.shards == before.shards
    style = bundle.style("wobble-merged")
    assert (style.kind, style.merged_strength, style.rank) == ("merged", 0, 2)
    feeds, expected = golden_feeds(bundle, bundle.manifest.variant("base"))
    slotless = {name: array for name, array in feeds.items() if ".lora_" not in name}
    zero = {name: array * 0 for name, array in feeds.items() if ".lora_" in name}
    base = UNet(bundle, bundle.manifest.variant("base")).step({**slotless, **zero})
    merged = UNet(bundle, bundle.manifest.variant("wobble-merged")).step(slotless)
    np.testing.assert_allclose(merged, base, atol=1e-5 * np.abs(expected).max())
