from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.numpy import load_file, save_file
from torch import nn
from transformers import CLIPTextModel

from exporter.export import StyleRequest, export
from exporter.parity import Runner
from exporter.progress import silent
from exporter.text_encoder import text_slot_shapes
from runtime.bundle import Bundle
from runtime.errors import BadFile, BrushletError
from runtime.lora import match_adapters, read_lora
from runtime.manifest import SlotTable
from runtime.packs import stack
from runtime.styles import choose_styles
from runtime.tensors import Float32
from runtime.text import TextEncoder
from tests.conftest import MERGED_STRENGTH
from tests.parity.reference import relative_error

PROMPTS = ["", "a castle, clouds", "castles " * 25]


@pytest.fixture(scope="module")
def spoken(text_bundle: Path) -> Bundle:
    return Bundle.open(text_bundle)


@pytest.fixture(scope="module")
def table(spoken: Bundle) -> SlotTable:
    return spoken.text_slot_table()


def embeddings(bundle: Bundle, clip_skip: int = 0, **styles: float) -> Float32:
    plan = choose_styles(bundle, {name.replace("_", "-"): s for name, s in styles.items()})
    return TextEncoder(bundle, plan.variant).encode(PROMPTS, plan.text_inputs(), clip_skip)


def test_any_batch_length_and_rank_is_pytorch(spoken: Bundle, tiny_base: Path) -> None:
    model = CLIPTextModel.from_pretrained(tiny_base / "text_encoder", dtype=torch.float32)
    run = Runner(spoken.path(spoken.manifest.text_encoder.graph.file))
    for batch, tokens, rank in ((1, 77, 1), (3, 5, 6)):
        ids = np.arange(batch * tokens).reshape(batch, tokens) % 300
        random = np.random.default_rng(rank)
        lora = {}
        merged = CLIPTextModel.from_pretrained(tiny_base / "text_encoder", dtype=torch.float32)
        for slot in spoken.text_slot_table().slots:
            A = lora[slot.input_a] = random.normal(0, 0.2, (slot.in_width, rank)).astype("f4")
            B = lora[slot.input_b] = random.normal(0, 0.2, (rank, slot.out_width)).astype("f4")
            target = merged.get_submodule(slot.name.removeprefix("text_encoder."))
            target.weight.data += torch.from_numpy((A @ B).T)
        with torch.no_grad():
            hidden = merged(torch.from_numpy(ids), output_hidden_states=True).hidden_states
            base = model(torch.from_numpy(ids))[0].numpy()
            norm = merged.text_model.final_layer_norm
            expected = [norm(hidden[i]).numpy() for i in (-1, -2, -3)]
        found = run.outputs({"input_ids": ids, **lora})
        assert list(found) == ["last_hidden_state", *spoken.manifest.text_encoder.skipped]
        for states, wanted in zip(found.values(), expected, strict=True):
            assert relative_error(states, wanted) <= 1e-5
        assert relative_error(base, expected[0]) > 0.05


def test_weight_places_are_the_models(spoken: Bundle, table: SlotTable, tiny_base: Path) -> None:
    weights = load_file(tiny_base / "text_encoder" / "model.safetensors")
    for slot in table.slots:
        place = slot.weight
        file = np.fromfile(spoken.folder / place.shard, place.dtype, offset=place.offset)
        stored = file[: np.prod(place.shape)].reshape(place.shape)
        expected = weights[f"{slot.name.removeprefix('text_encoder.')}.weight"]
        np.testing.assert_array_equal(stored.T, expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["accent", "speech"])
def test_external_is_merged_is_diffusers(
    name: str, spoken: Bundle, tiny_base: Path, text_loras: dict[str, Path]
) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        tiny_base, torch_dtype=torch.float32, safety_checker=None
    )
    path = text_loras[name]
    pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="a")
    pipeline.set_adapters(["a"], [MERGED_STRENGTH])
    encoder = TextEncoder(spoken)
    ids = torch.tensor([encoder.rows(prompt)[0].ids for prompt in PROMPTS])
    with torch.no_grad():
        expected = pipeline.text_encoder(ids)[0].numpy()
    external = embeddings(spoken, **{name: MERGED_STRENGTH})
    merged = embeddings(spoken, **{f"{name}_merged": MERGED_STRENGTH})
    assert relative_error(external, expected) <= 1e-5
    assert relative_error(merged, external) <= 5e-3  # a merged weight is rounded to fp16
    assert relative_error(embeddings(spoken), expected) > 0.05
    skipped = embeddings(spoken, 2, **{name: MERGED_STRENGTH})
    merged = embeddings(spoken, 2, **{f"{name}_merged": MERGED_STRENGTH})
    assert relative_error(merged, skipped) <= 5e-3
    assert relative_error(skipped, external) > 0.05


def test_what_a_style_changes_is_said(spoken: Bundle) -> None:
    models = {style.name: style.models for style in spoken.manifest.styles}
    both, text = ["unet", "text_encoder"], ["text_encoder"]
    assert models["accent"] == models["accent-merged"] == both
    assert models["speech"] == models["speech-merged"] == text
    assert models["wiggle"] == models["wiggle-merged"] == ["unet"]
    assert spoken.style_pack("accent").metadata.models == both
    measured = [line.what for line in spoken.style("accent").parity]
    assert measured == ["accent: pack = file", "accent, text encoder: pack = file"]
    base = [line.what for line in spoken.manifest.parity]
    assert {"text encoder", "text encoder, clip skip"} <= set(base)
    measured = [line.what for line in spoken.style("speech").parity]
    assert measured == ["speech, text encoder: pack = file"]
    measured = [line.what for line in spoken.style("speech-merged").parity]
    assert {"speech-merged, text encoder", "speech-merged, text encoder, clip skip"} <= {*measured}


def test_a_merged_style_stores_only_what_it_changed(spoken: Bundle, table: SlotTable) -> None:
    manifest = spoken.manifest
    changed = {slot.weight.shard for slot in table.slots}
    base = set(manifest.text_encoder.graph.shards)
    own = manifest.variant("accent-merged").text_encoder
    assert own
    assert base - set(own.graph.shards) == changed
    assert manifest.variant("wiggle-merged").text_encoder is None
    unet = {shard for graph in manifest.variant("base").graphs for shard in graph.shards}
    speech = {s for graph in manifest.variant("speech-merged").graphs for s in graph.shards}
    assert speech == unet
    names = {value.name for value in spoken.session(own.graph).get_inputs()}
    assert names == {"input_ids"}


def test_external_styles_of_both_kinds_are_stacked(spoken: Bundle, table: SlotTable) -> None:
    packs = {name: spoken.style_pack(name) for name in ("accent", "speech", "wiggle")}
    stacked = stack([(packs["wiggle"], 1), (packs["accent"], 0.5), (packs["speech"], -0.3)], table)
    assert {array.shape[1] for name, array in stacked.items() if name.endswith("A")} == {8}
    for slot in table.slots:
        expected = sum(
            strength * (A.astype("f4") @ B.astype("f4"))
            for strength, A, B in (
                (s, packs[name].tensors[slot.input_a], packs[name].tensors[slot.input_b])
                for name, s in (("accent", 0.5), ("speech", -0.3))
            )
        )
        found = stacked[slot.input_a] @ stacked[slot.input_b]
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_the_text_part_too_needs_a_low_rank_form(
    dist: Path, tiny_base: Path, text_loras: dict[str, Path], tmp_path: Path
) -> None:
    tensors = load_file(text_loras["accent"])
    key = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    scale = np.ones((64, 1), np.float16)
    save_file({**tensors, f"{key}.dora_scale": scale}, tmp_path / "dora.safetensors")
    before = (dist / "manifest.json").read_bytes()
    with pytest.raises(BrushletError, match=r"DoRA: .*layers\.0\.mlp\.fc1.*MODE=merged"):
        export(tiny_base, dist, silent, StyleRequest(tmp_path / "dora.safetensors", "external"))
    assert (dist / "manifest.json").read_bytes() == before
    merged = export(tiny_base, dist, silent, StyleRequest(tmp_path / "dora.safetensors", "merged"))
    assert merged.manifest.variant("dora-merged").text_encoder


def test_biases_are_merged_too(
    dist: Path, tiny_base: Path, text_loras: dict[str, Path], tmp_path: Path
) -> None:
    """Against PyTorch, with the weights of `speech` beside them."""
    random = np.random.default_rng(5)
    tensors = load_file(text_loras["speech"])
    layers = ["0.mlp.fc1", "1.self_attn.q_proj"]
    text_encoder = CLIPTextModel.from_pretrained(tiny_base / "text_encoder")
    text_encoder = text_encoder.float().requires_grad_(False)
    for layer in layers:
        path = f"text_model.encoder.layers.{layer}"
        bias = text_encoder.get_submodule(path).bias
        change = random.normal(0, 0.3, len(bias)).astype(np.float16)
        tensors[f"lora_te_{path.replace('.', '_')}.diff_b"] = change
    save_file(tensors, tmp_path / "biased.safetensors")
    with pytest.raises(BrushletError, match=r"it changes the layer's bias.*MODE=merged"):
        export(tiny_base, dist, silent, StyleRequest(tmp_path / "biased.safetensors", "external"))
    strengths = {"speech": text_loras["speech"], "biased": tmp_path / "biased.safetensors"}
    found = {}
    for name, path in strengths.items():
        export(tiny_base, dist, silent, StyleRequest(path, "merged", f"{name}-m", 0.5))
        bundle = Bundle.open(dist)
        part = bundle.manifest.variant(f"{name}-m").text_encoder
        assert part
        found[name] = bundle.session(part.graph)
    # What the biases add is what they add to PyTorch's, so all else is as in `speech`.
    ids = np.arange(77)[None] * 3 % 500
    speech, biased = (found[n].run(["last_hidden_state"], {"input_ids": ids})[0] for n in found)
    adapters = match_adapters(read_lora(text_loras["speech"]), Bundle.open(dist).text_slot_table())
    for name, adapter in adapters.items():
        layer = text_encoder.get_submodule(name.removeprefix("text_encoder."))
        layer.weight.data = torch.from_numpy(adapter.apply(layer.weight.numpy(), 0.5))
        layer.weight.data = layer.weight.data.half().float()
    expected = [text_encoder(torch.from_numpy(ids)).last_hidden_state.numpy()]
    for layer in layers:
        path = f"text_model.encoder.layers.{layer}"
        bias = text_encoder.get_submodule(path).bias
        bias += 0.5 * torch.from_numpy(tensors[f"lora_te_{path.replace('.', '_')}.diff_b"])
        bias.data = bias.half().float()
    expected.append(text_encoder(torch.from_numpy(ids)).last_hidden_state.numpy())
    assert relative_error(speech, expected[0]) <= 1e-4
    assert relative_error(biased, expected[1]) <= 1e-4
    assert relative_error(speech, expected[1]) > 1e-2


def test_a_merge_beyond_fp16_is_refused(
    dist: Path, tiny_base: Path, text_loras: dict[str, Path]
) -> None:
    request = StyleRequest(text_loras["speech"], "merged", strength=1e7)
    with pytest.raises(BadFile, match=r"text_encoder.*which float16 cannot hold"):
        export(tiny_base, dist, silent, request)


def test_another_text_encoder_is_refused() -> None:
    with pytest.raises(BrushletError, match="the text encoder is a Linear, not CLIP's"):
        text_slot_shapes(nn.Linear(2, 2))
