import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporter.blend import Blend, Mixed, Part, find_lora, parse_loras, read_mixture
from exporter.export import StyleRequest, export
from exporter.parity import TOLERANCE
from exporter.progress import silent
from exporter.recipe import read_recipe
from exporter.sidecar import update_sidecar
from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.lora import read_lora
from runtime.tensors import Float32
from runtime.unet import UNet
from tests.exporter.test_styles import (
    MERGED_TOLERANCE,
    assert_close,
    external_step,
    feeds,
    peft_step,
)
from tests.lycoris import lycoris_network

__all__ = ["feeds"]  # a fixture


def test_a_lora_is_found_by_name_or_path(tiny_loras: dict[str, Path]) -> None:
    assert find_lora(str(tiny_loras["wiggle"])) == tiny_loras["wiggle"]
    assert find_lora("miyazaki").name == "miyazaki.safetensors"
    with pytest.raises(BrushletError, match=r"there is no such LoRA.*miyazaki"):
        find_lora("no-such-style")
    with pytest.raises(BrushletError, match=r"it is a folder.*wiggle.safetensors, .*wobble"):
        find_lora(str(tiny_loras["wiggle"].parent))


def test_loras_and_weights_are_named_in_one_text(tiny_loras: dict[str, Path]) -> None:
    wiggle, wobble = tiny_loras["wiggle"], tiny_loras["wobble"]
    assert parse_loras(f"{wiggle}") == (wiggle, None)
    assert parse_loras(f"{wiggle}:0.7") == (wiggle, 0.7)
    both = Blend((Part(wiggle, 0.7), Part(wobble, -0.4)))
    assert parse_loras(f"{wiggle}:0.7, {wobble}:-0.4") == (both, None)
    for text, weights in ((f"{wiggle},miyazaki:2", [1.0, 2.0]), ("miyazaki:2,gothic", [2.0, 1.0])):
        source, _ = parse_loras(text)
        assert isinstance(source, Blend)
        assert [part.weight for part in source.parts] == weights


def test_a_path_may_hold_commas_and_colons(tmp_path: Path) -> None:
    for name in ("a", "a,b", "a:0.7", "a,b:0.4"):
        (tmp_path / name).touch()
    for name in ("a,b", "a:0.7", "a,b:0.4"):
        assert parse_loras(f"{tmp_path / name}") == (tmp_path / name, None)
    assert parse_loras(f"{tmp_path / 'a,b'}:0.5") == (tmp_path / "a,b", 0.5)
    source, _ = parse_loras(f"{tmp_path / 'a:0.7'}:0.2,{tmp_path / 'a'}:3")
    assert source == Blend((Part(tmp_path / "a:0.7", 0.2), Part(tmp_path / "a", 3.0)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("miyazaki:much", "'much' is no number"),
        ("miyazaki:nan,gothic", "'nan' is no number"),
        ("miyazaki:0.7,", "no such LoRA"),
        ("miyazaki,gothik:0.4", "gothik: there is no such LoRA"),
        ("gothik:0.4", "gothik: there is no such LoRA"),
        ("", "no such LoRA"),
    ],
)
def test_what_is_no_lora_is_named(text: str, said: str) -> None:
    with pytest.raises(BrushletError, match=said):
        parse_loras(text)


@pytest.fixture
def blend(tiny_loras: dict[str, Path]) -> Blend:
    return Blend((Part(tiny_loras["wiggle"], 0.7), Part(tiny_loras["wobble"], -0.4)))


@pytest.mark.filterwarnings("ignore")  # diffusers and PEFT about each other
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_stacked_pack_is_two_adapters(
    strength: float,
    blend: Blend,
    dist: Path,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    feeds: dict[str, Float32],
) -> None:
    outcome = export(tiny_base, dist, silent, StyleRequest(blend, "external"))
    assert all(item.passed for item in outcome.parity)
    bundle = Bundle.open(dist)
    style = bundle.style("wiggle-wobble")
    assert (style.title, style.rank, style.strength.default) == ("wiggle + wobble", 6, 1.0)
    loras = [(tiny_loras["wiggle"], 0.7 * strength), (tiny_loras["wobble"], -0.4 * strength)]
    reference = peft_step(tiny_base, loras, feeds)
    # 0.7 B is rounded to fp16, which 0.7 in PyTorch is not.
    output = external_step(bundle, [("wiggle-wobble", strength)], feeds)
    assert_close(output, reference, MERGED_TOLERANCE)
    apart = [("wiggle", 0.7 * strength), ("wobble", -0.4 * strength)]
    assert_close(external_step(bundle, apart, feeds), reference, TOLERANCE["fp32"])


@pytest.mark.filterwarnings("ignore")
def test_a_merged_blend_is_two_adapters(
    blend: Blend,
    dist: Path,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    feeds: dict[str, Float32],
) -> None:
    export(tiny_base, dist, silent, StyleRequest(blend, "merged", strength=0.5))
    bundle = Bundle.open(dist)
    style = bundle.style("wiggle-wobble-merged")
    assert (style.rank, style.merged_strength) == (6, 0.5)
    output = UNet(bundle, bundle.manifest.variant(style.name)).step(feeds)
    loras = [(tiny_loras["wiggle"], 0.35), (tiny_loras["wobble"], -0.2)]
    reference = peft_step(tiny_base, loras, feeds)
    assert_close(output, reference, MERGED_TOLERANCE)


def test_a_recipe_makes_one_style(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    for name, words in (("wiggle", "ink, lines"), ("wobble", "lines, dusk")):
        shutil.copy(tiny_loras[name], tmp_path)
        update_sidecar(tmp_path / f"{name}.safetensors", {"activation_text": words})
    (tmp_path / "dusk.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
    recipe = {
        "pack_name": "Dusk in Ink",
        "loras": [
            {"name": "Ink", "path": "wiggle.safetensors", "default_weight": 0.7},
            {"name": "Dusk", "path": "wobble.safetensors", "default_weight": -0.4},
        ],
        "preview_image": "dusk.png",
        "description": "Blue hours.",
    }
    (tmp_path / "pack.json").write_text(json.dumps(recipe))
    source = read_recipe(tmp_path / "pack.json")
    for mode, name in (("external", "dusk-in-ink"), ("merged", "dusk-in-ink-merged")):
        export(tiny_base, dist, silent, StyleRequest(source, mode))
        bundle = Bundle.open(dist)
        style = bundle.style(name)
        assert style.title.startswith("Dusk in Ink")
        assert style.description == "Blue hours."
        assert style.trigger_words == ["ink", "lines", "dusk"]
        assert style.strength.default == 1.0
        assert style.thumbnail is not None
        assert bundle.path(style.thumbnail).read_bytes() == (tmp_path / "dusk.png").read_bytes()
        bundle.verify()


def test_what_a_blend_is_made_of_is_its_identity(tiny_loras: dict[str, Path]) -> None:
    wiggle, wobble = tiny_loras["wiggle"], tiny_loras["wobble"]
    one = read_mixture(wiggle)
    assert one.sha256 == read_lora(wiggle).sha256
    blends = [((wiggle, 0.7),), ((wiggle, 0.7), (wobble, 1)), ((wiggle, 0.7), (wobble, 2))]
    hashes = {read_mixture(Blend(tuple(Part(*part) for part in parts))).sha256 for parts in blends}
    assert len(hashes | {one.sha256}) == 4


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(12, 8, bias=False)


def test_adapters_that_depend_on_the_weight_are_summed_as_in_lycoris(tmp_path: Path) -> None:
    """Two DoRAs on one layer, as LyCORIS runs them both."""
    torch.manual_seed(0)
    layer = Layer()
    W = layer.to_q.weight.detach().numpy().copy()
    adapters = []
    for number in range(2):
        network = lycoris_network(
            layer, ["to_q"], rank=2, alpha=2, network_module="locon", weight_decompose=True
        )
        network.save_weights(tmp_path / f"{number}.safetensors", None, {})
        (adapter,) = read_lora(tmp_path / f"{number}.safetensors").modules.values()
        adapters.append((adapter, 1.0))
    changed = Mixed(tuple(adapters)).apply(W, 1.0)
    x = torch.randn(5, 12)
    with torch.no_grad():
        expected = layer.to_q(x).numpy()
    np.testing.assert_allclose(x.numpy() @ changed.T, expected, rtol=1e-4, atol=1e-5)
    backwards = Mixed(tuple(reversed(adapters))).apply(W, 1.0)
    np.testing.assert_allclose(backwards, changed, rtol=1e-5, atol=1e-6)
    assert np.abs(changed - adapters[0][0].apply(W, 1.0)).max() > 0.05
