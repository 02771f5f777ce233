"""What a base's export says of the pipeline; its files and gates are for other tests."""

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.samplers import MAX_STEPS, RECIPES
from runtime.bundle import Bundle
from runtime.manifest import BASE_VARIANT, Manifest


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Manifest:
    return Bundle.open(tiny_bundle).manifest


def config(base: Path, part: str) -> dict[str, Any]:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    return dict(json.loads((base / part / name).read_text()))


def test_sizes_are_those_of_the_pipeline(manifest: Manifest, tiny_base: Path) -> None:
    unet, vae, scheduler = (config(tiny_base, part) for part in ("unet", "vae", "scheduler"))
    model = manifest.model
    assert model.sample_size == unet["sample_size"]
    assert model.in_channels == unet["in_channels"]
    assert model.latent_channels == vae["latent_channels"]
    assert model.vae_scale == 2 ** (len(vae["block_out_channels"]) - 1)
    assert model.vae_scaling_factor == vae["scaling_factor"]
    assert model.cross_attention_dim == unet["cross_attention_dim"]
    assert model.num_train_timesteps == scheduler["num_train_timesteps"]
    assert model.prediction_type == "epsilon"
    assert model.guidance_frequencies == []


def test_every_sampler_has_every_step_count(manifest: Manifest, tiny_bundle: Path) -> None:
    assert [sampler.name for sampler in manifest.samplers] == list(RECIPES)
    for sampler in manifest.samplers:
        tables = json.loads((tiny_bundle / sampler.file.url).read_text())
        assert set(tables["tables"]) == {str(steps) for steps in range(1, MAX_STEPS + 1)}
        assert 1 <= sampler.default_steps <= sampler.max_steps == MAX_STEPS


def test_weights_are_shared_by_the_graphs_of_both_precisions(manifest: Manifest) -> None:
    graphs = manifest.variant(BASE_VARIANT).graphs
    kinds = {(graph.compute, graph.attention) for graph in graphs}
    assert kinds == {(c, a) for c in ("fp16", "fp32") for a in ("fused", "plain")}
    shards = [set(graph.shards) for graph in graphs]
    assert all(own == shards[0] for own in shards)


def test_what_was_measured_is_kept_with_the_parts_it_is_of(manifest: Manifest) -> None:
    measured = {measurement.what for measurement in manifest.parity}
    for part in ("text encoder", "vae decoder", "vae encoder", BASE_VARIANT):
        assert any(part in what for what in measured), (part, measured)
