"""External = merged = PEFT, for the ways LoRA files are written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from exporter.export import StyleRequest, export
from exporter.golden import golden_inputs
from exporter.parity import TOLERANCE, compare
from exporter.progress import silent
from runtime.bundle import Bundle
from runtime.packs import stack
from runtime.tensors import Float32
from runtime.unet import UNet

# A merged weight is rounded to fp16, which the sum of base and LoRA in PyTorch is not.
MERGED_TOLERANCE = TOLERANCE["fp16"]


@pytest.fixture(scope="module")
def feeds(bundle: Bundle, tiny_base: Path) -> dict[str, Float32]:
    config = UNet2DConditionModel.load_config(tiny_base / "unet")
    return golden_inputs(config, 1000)["middle noise"]


def peft_step(base: Path, loras: list[tuple[Path, float]], feeds: dict[str, Float32]) -> Float32:
    """One step as a user of diffusers would take it."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        base, torch_dtype=torch.float32, safety_checker=None
    )
    names = []
    for path, _ in loras:
        names.append(f"lora{len(names)}")
        pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name=names[-1])
    if names:
        pipeline.set_adapters(names, [strength for _, strength in loras])
    with torch.no_grad():
        output = pipeline.unet(*(torch.from_numpy(feed) for feed in feeds.values())).sample
    return np.asarray(output.numpy())


def external_step(
    bundle: Bundle, styles: list[tuple[str, float]], feeds: dict[str, Float32]
) -> Float32:
    packs = [(bundle.style_pack(name), strength) for name, strength in styles]
    unet = UNet(bundle, bundle.manifest.variant("base"))
    return unet.step(feeds | stack(packs, bundle.slot_table()))


def assert_close(output: Float32, reference: Float32, tolerance: float) -> None:
    parity = compare("step", output, reference, tolerance)
    assert parity.passed, parity


@pytest.mark.filterwarnings("ignore")  # diffusers and PEFT about each other
@pytest.mark.parametrize("strength", [0.0, 0.7, 1.3])
def test_an_external_style_is_peft(
    strength: float,
    bundle: Bundle,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    feeds: dict[str, Float32],
) -> None:
    output = external_step(bundle, [("wiggle", strength)], feeds)
    reference = peft_step(tiny_base, [(tiny_loras["wiggle"], strength)], feeds)
    assert_close(output, reference, TOLERANCE["fp32"])
    changed = np.abs(reference - peft_step(tiny_base, [], feeds)).max()
    assert (changed > 0.05) == (strength > 0)  # or the comparison would say nothing


@pytest.mark.filterwarnings("ignore")
def test_two_stacked_styles_are_two_adapters(
    bundle: Bundle, tiny_base: Path, tiny_loras: dict[str, Path], feeds: dict[str, Float32]
) -> None:
    output = external_step(bundle, [("wiggle", 0.7), ("wobble", -0.4)], feeds)
    loras = [(tiny_loras["wiggle"], 0.7), (tiny_loras["wobble"], -0.4)]
    assert_close(output, peft_step(tiny_base, loras, feeds), TOLERANCE["fp32"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strength", [0.0, 0.7, 1.3])
def test_a_merged_style_is_peft(
    strength: float,
    dist: Path,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    feeds: dict[str, Float32],
) -> None:
    request = StyleRequest(tiny_loras["wobble"], "merged", strength=strength)
    outcome = export(tiny_base, dist, silent, request)
    assert all(parity.passed for parity in outcome.parity)
    merged = Bundle.open(dist)
    style = merged.style("wobble-merged")
    assert (style.kind, style.merged_strength) == ("merged", strength)
    output = UNet(merged, merged.manifest.variant("wobble-merged")).step(feeds)
    assert_close(
        output, peft_step(tiny_base, [(tiny_loras["wobble"], strength)], feeds), MERGED_TOLERANCE
    )
    # The external style of the same LoRA is still there, and the same picture.
    assert_close(output, external_step(merged, [("wobble", strength)], feeds), MERGED_TOLERANCE)


@pytest.mark.filterwarnings("ignore")
def test_a_file_saved_by_peft_becomes_the_same_pack(
    dist: Path, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        tiny_base, torch_dtype=torch.float32, safety_checker=None
    )
    source = tiny_loras["wobble"]
    pipeline.load_lora_weights(source.parent, weight_name=source.name, adapter_name="a")
    pipeline.unet.save_lora_adapter(tmp_path, adapter_name="a", weight_name="peft.safetensors")
    saved = load_file(tmp_path / "peft.safetensors")
    # PEFT keeps alpha in its config; diffusers folded it, as rank and alpha, into neither half.
    scale = {key: 0.5 if key.endswith("lora_B.weight") else 1.0 for key in saved}
    save_file({k: v * scale[k] for k, v in saved.items()}, tmp_path / "peft.safetensors")
    export(tiny_base, dist, silent, StyleRequest(tmp_path / "peft.safetensors", "external"))
    exported = Bundle.open(dist)
    ours, theirs = exported.style_pack("wobble"), exported.style_pack("peft")
    assert ours.tensors.keys() == theirs.tensors.keys()
    for name, tensor in ours.tensors.items():
        np.testing.assert_allclose(theirs.tensors[name], tensor, rtol=1e-3, atol=1e-6)
