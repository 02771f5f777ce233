"""LyCORIS' kinds on every layer at graph level, merged where there is no slot, biases too."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from lycoris.wrapper import LycorisNetwork
from safetensors.torch import load_file, save_file

from exporter import merged
from exporter.export import StyleRequest, export
from exporter.golden import golden_inputs
from exporter.progress import silent
from exporter.slots import ldm_path
from exporter.staging import dump
from runtime.bundle import Bundle
from runtime.errors import UnmatchedKeys
from runtime.lora import read_lora
from runtime.manifest import MANIFEST_NAME
from runtime.packs import make_pack, stack
from runtime.tensors import Float32
from runtime.unet import UNet
from tests.exporter.test_export import command
from tests.exporter.test_staging import listing
from tests.lycoris import lycoris_biases, lycoris_merged, lycoris_network
from tests.parity.reference import relative_error

STRENGTHS = (-0.5, 0.0, 0.7, 1.3)
LAYERS = [rf".*attentions.*{name}" for name in ("to_.*", "proj_in", "proj_out", "net.*")]
LAYERS += [r".*resnets.*(conv.*|time_emb_proj)", r".*samplers\.0\.conv", r"conv_(in|out)"]
LAYERS += [r"time_embedding\.linear_[12]"]
MERGED: dict[str, dict[str, Any]] = {
    "full": {"network_module": "full"},
    "locon": {"network_module": "locon", "use_tucker": True},
    "loha": {"network_module": "loha"},
    "lokr": {"network_module": "lokr", "full_matrix": True},
    "dora": {"network_module": "locon", "weight_decompose": True},
    "ia3": {"network_module": "ia3"},
}
EXTERNAL: dict[str, dict[str, Any]] = {
    "locon": {"network_module": "locon"},
    "mid": {"network_module": "locon", "use_tucker": True},
    "rslora": {"network_module": "locon", "rs_lora": True},
    "sgm": {"network_module": "locon"},
}
# A merged weight is rounded to fp16, to the other neighbour where sums differ in their last digit.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def feeds(tiny_base: Path) -> dict[str, Float32]:
    config = UNet2DConditionModel.load_config(tiny_base / "unet")
    return golden_inputs(config, 1000)["middle noise"]


@pytest.fixture(scope="module")
def attn(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny pipeline of SLOTS=attn, of its UNet graphs only the first."""
    out = tmp_path_factory.mktemp("attn") / "dist"
    manifest = export(tiny_base, out, silent, slot_set="attn").manifest
    base = manifest.unet[0]
    lean = manifest.model_copy(
        update={"unet": [base.model_copy(update={"graphs": base.graphs[:1]})]}
    )
    (out / MANIFEST_NAME).write_bytes(dump(lean))
    return out


@pytest.fixture(scope="module")
def full(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("full") / "dist"
    export(tiny_base, out, silent, slot_set="full")
    return Bundle.open(out)


def fp32_unet(base: Path) -> UNet2DConditionModel:
    unet = UNet2DConditionModel.from_pretrained(base / "unet", torch_dtype=torch.float32)
    return unet.requires_grad_(False)


def network(base: Path, path: Path, **options: Any) -> LycorisNetwork:
    """A network on every layer, saved to `path`."""
    torch.manual_seed(7)
    made = lycoris_network(fp32_unet(base), LAYERS, rank=2, alpha=2, **options)
    made.save_weights(path, None, {})
    return made


def changes(theirs: LycorisNetwork, base: Path, strength: float) -> dict[str, torch.Tensor]:
    """Parameter -> what LyCORIS makes of it, all that its file changes."""
    names = {
        f"lora_unet_{path.replace('.', '_')}": path for path, _ in fp32_unet(base).named_modules()
    }
    found = {f"{names[k]}.weight": w for k, w in lycoris_merged(theirs, strength).items()}
    found |= {f"{names[k]}.bias": b for k, b in lycoris_biases(theirs, strength).items()}
    return {name: torch.from_numpy(array) for name, array in found.items()}


@torch.no_grad()
def step(unet: UNet2DConditionModel, feeds: dict[str, Float32]) -> Float32:
    return np.asarray(unet(*map(torch.from_numpy, feeds.values())).sample.numpy())


@pytest.mark.parametrize("kind", MERGED)
def test_a_merge_changes_layers_without_slots_and_biases(
    kind: str,
    attn: Path,
    tiny_base: Path,
    feeds: dict[str, Float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merged, "GOLDEN_UP_TO", 0)  # LyCORIS and PyTorch judge here
    path = tmp_path / f"{kind}.safetensors"
    theirs = network(tiny_base, path, **MERGED[kind])
    plain = fp32_unet(tiny_base).state_dict()
    whole = changes(theirs, tiny_base, 1.0)
    assert any(name.endswith(".bias") for name in whole) == (kind == "full")
    assert {"conv_in.weight", "time_embedding.linear_1.weight"} <= whole.keys()
    for strength in STRENGTHS:
        expected = changes(theirs, tiny_base, strength)
        if kind == "dora":  # whose strength LyCORIS takes otherwise
            expected = {k: plain[k] + strength * (w - plain[k]) for k, w in whole.items()}
        unet = fp32_unet(tiny_base)
        unet.load_state_dict(plain | {k: w.half().float() for k, w in expected.items()})
        export(tiny_base, attn, silent, StyleRequest(path, "merged", "late", strength))
        bundle = Bundle.open(attn)
        reference = step(unet, feeds)
        found = UNet(bundle, bundle.manifest.variant("late")).step(feeds)
        assert relative_error(found, reference) <= TOLERANCE, strength
        if strength:  # or the comparison would say nothing
            assert relative_error(step(fp32_unet(tiny_base), feeds), reference) > 20 * TOLERANCE
    bundle.verify()


@pytest.mark.parametrize("kind", EXTERNAL)
def test_convolutions_are_external_in_a_base_of_all_slots(
    kind: str, full: Bundle, tiny_base: Path, feeds: dict[str, Float32], tmp_path: Path
) -> None:
    path = tmp_path / "lora.safetensors"
    theirs = network(tiny_base, path, **EXTERNAL[kind])
    if kind == "sgm":
        save_file(sgm_names(load_file(path), tiny_base), path)
    assert any("lora_mid" in key for key in load_file(path)) == (kind == "mid")
    pack = make_pack(
        read_lora(path),
        *full.slot_tables(),
        base_hash="0" * 64,
        base_name="tiny",
        name="x",
        title="X",
    )
    plain = fp32_unet(tiny_base).state_dict()
    ours = UNet(full, full.manifest.variant("base"))
    for strength in STRENGTHS:
        unet = fp32_unet(tiny_base)
        unet.load_state_dict(plain | changes(theirs, tiny_base, strength))
        found = ours.step(feeds | stack([(pack, strength)], full.slot_table()))
        assert relative_error(found, step(unet, feeds)) <= 1e-3  # of a pack in fp16


def sgm_names(state: dict[str, torch.Tensor], base: Path) -> dict[str, torch.Tensor]:
    """Keys by the original blocks' names, `lora_unet_input_blocks_1_1_...`."""
    unet = fp32_unet(base)
    modules = {key.partition(".")[0] for key in state}
    names = {}
    for path, _ in unet.named_modules():
        if (ours := f"lora_unet_{path.replace('.', '_')}") in modules:
            theirs = ldm_path(path, unet.config)
            assert theirs, path
            names[ours] = f"lora_unet_{theirs.replace('.', '_')}"
    renamed = {}
    for key, value in state.items():
        module, _, part = key.partition(".")
        renamed[f"{names[module]}.{part}"] = value
    assert any(key.startswith("lora_unet_output_blocks_") for key in renamed)
    return renamed


def test_what_has_no_slot_is_told_which_slot_set_has_it(
    attn: Path, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    before = listing(attn)
    locon = tmp_path / "locon.safetensors"
    network(tiny_base, locon, **EXTERNAL["locon"])
    for path, needed in ((tiny_loras["wiggle"], "transformer"), (locon, "full")):
        with pytest.raises(UnmatchedKeys) as caught:
            export(tiny_base, attn, silent, StyleRequest(path, "external"))
        message = str(caught.value)
        assert str(path) in message
        assert "without a slot in a base of SLOTS=attn" in message
        assert f"SLOTS={needed} (--slots {needed}), or this LoRA with MODE=merged" in message
    assert listing(attn) == before


def test_a_wrong_file_fails_before_the_base_is_exported(
    tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    """By its keys and widths, in each format; what there is to see is that nothing was traced."""
    state = load_file(tiny_loras["wobble"])
    foreign = {key.replace("blocks_0_attn1", "blocks_3_attn1"): v for key, v in state.items()}
    wide = {
        key: torch.cat([v, v], dim=1) if key.endswith("down.weight") else v
        for key, v in state.items()
    }
    for tensors, said in ((foreign, "is a LoRA for SDXL"), (wide, "the base here is tiny")):
        path = tmp_path / "wrong.safetensors"
        save_file(tensors, path)
        request = ["--lora", path, "--base", tiny_base, "--out", tmp_path / "dist"]
        done = command("export", *request)
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[-1]
        assert not re.search("tracing|text encoder|VAE", done.stderr)
        assert not (tmp_path / "dist").exists()
    for form in ("optimum", "adapter"):
        done = command("export", *request, "--format", form)
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[-1]
        assert not re.search("tracing|text encoder|VAE", done.stderr)
