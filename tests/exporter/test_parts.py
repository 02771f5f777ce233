from pathlib import Path

import numpy as np
import pytest

from exporter.parity import Runner, compare
from exporter.parts import OUTPUTS, part_reference
from exporter.pipeline import load_pipeline
from exporter.preview import latent_rgb
from runtime.bundle import Bundle


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_part_is_pytorch(name: str, bundle: Bundle, tiny_base: Path) -> None:
    feeds, reference = part_reference(load_pipeline(tiny_base), name)
    graph = getattr(bundle.manifest, name).graph
    session = bundle.session(graph)
    assert [value.name for value in session.get_outputs()] == [OUTPUTS[name]]
    assert compare(name, Runner(bundle.path(graph.file))(feeds), reference, 1e-5).passed


@pytest.mark.parametrize("name", ["vae_encoder", "vae_decoder"])
def test_a_taesd_is_pytorch(name: str, lcm_bundle: Path, lcm_base: Path) -> None:
    feeds, reference = part_reference(load_pipeline(lcm_base), name)
    bundle = Bundle.open(lcm_bundle)
    output = Runner(bundle.path(getattr(bundle.manifest, name).graph.file))(feeds)
    assert output.shape == reference.shape
    assert compare(name, output, reference, 1e-5).passed


def test_a_taesd_has_a_preview(lcm_bundle: Path) -> None:
    matrix = np.array(Bundle.open(lcm_bundle).manifest.model.latent_rgb)
    assert matrix.shape == (3, 5)
    assert np.abs(matrix[:, :4]).max() > 0.01


def test_the_preview_is_the_best_linear_guess(bundle: Bundle, tiny_base: Path) -> None:
    vae = load_pipeline(tiny_base).vae
    matrix = np.array(bundle.manifest.model.latent_rgb)
    assert matrix.shape == (3, 5)
    np.testing.assert_allclose(matrix, latent_rgb(vae), atol=1e-4)
