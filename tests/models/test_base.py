"""The shipped weights: within their budget, and as good as the model card says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from models.card import CLOSING, OPENING, card
from models.classifiers import HEADS, load_judge
from models.report import (
    CAPTION_SEED,
    MODELS,
    STRENGTHS,
    digests,
    folder_megabytes,
    held_out_scenes,
    load_pipeline,
    paint,
    reconstruction_psnr,
    targets_of,
)
from models.scenes import STYLES, Scene, draw, styled
from models.training.places import BASE, CLASSIFIERS, LORAS
from runtime.digests import base_hash
from runtime.lora import BASE_HASH_KEY, read_lora


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline(BASE)


def test_layout_is_stable_diffusion_s(pipeline) -> None:
    index = json.loads((BASE / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert pipeline.vae_scale_factor == 8
    assert pipeline.unet.config.in_channels == pipeline.vae.config.latent_channels
    assert pipeline.unet.config.cross_attention_dim == pipeline.text_encoder.config.hidden_size
    assert not pipeline.unet.config.use_linear_projection
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    assert pipeline.scheduler.config.steps_offset == 1


def test_sizes_within_budget() -> None:
    assert folder_megabytes(BASE, "*") <= 25
    assert folder_megabytes(LORAS, "*.safetensors") <= 3
    assert folder_megabytes(CLASSIFIERS, "*.safetensors") < 1


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_are_finite_fp16(part: str) -> None:
    for path in (BASE / part).glob("*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (safe_open is no dict)
                tensor = weights.get_tensor(name)
                if tensor.is_floating_point():
                    assert tensor.dtype == torch.float16, name
                    assert torch.isfinite(tensor).all(), name


def test_pooled_state_is_that_of_the_end_token(pipeline) -> None:
    tokens = pipeline.tokenizer(["a house, day"], padding="max_length", return_tensors="pt")
    with torch.no_grad():
        out = pipeline.text_encoder(tokens.input_ids)
    end = tokens.input_ids[0].tolist().index(pipeline.tokenizer.eos_token_id)
    torch.testing.assert_close(out.pooler_output[0], out.last_hidden_state[0, end])


@pytest.mark.parametrize("style", [None, *STYLES])
def test_vae_reconstructs(pipeline, style: str | None) -> None:
    promised = 27 if style else 31
    # The first dozen of the report's 200 scenes come out 0.2 to 0.7 dB above the mean of all.
    assert reconstruction_psnr(pipeline.vae, style, 12) >= promised


def test_judge_knows_drawn_scenes() -> None:
    scenes = [Scene.sample(990_000_000 + index, "held_out") for index in range(40)]
    said = load_judge().judge([draw(scene) for scene in scenes])
    for head in ("time", "ground", "object"):
        right = [
            word == getattr(scene, head) for word, scene in zip(said[head], scenes, strict=True)
        ]
        assert np.mean(right) >= 0.9, head
    assert set(HEADS["style"]) == {"plain", *STYLES}


def test_pictures_follow_the_prompt(pipeline) -> None:
    scenes = held_out_scenes(8, CAPTION_SEED)
    said = load_judge().judge(paint(pipeline, [scene.caption() for scene in scenes]))
    for head, least in (("time", 6), ("ground", 6), ("object", 4)):
        right = [
            word == getattr(scene, head) for word, scene in zip(said[head], scenes, strict=True)
        ]
        assert sum(right) >= least, head


def test_a_lora_draws_what_the_judge_names(pipeline) -> None:
    """Eight steps do: of the four captions none was named without the LoRA, and all with it."""
    prompts = [styled(scene.caption(), "miyazaki") for scene in held_out_scenes(4, CAPTION_SEED)]
    judge = load_judge()
    plain = judge.judge(paint(pipeline, prompts, steps=8))["style"]
    pipeline.load_lora_weights(str(LORAS), weight_name="miyazaki.safetensors")
    try:
        drawn = judge.judge(paint(pipeline, prompts, steps=8))["style"]
    finally:
        pipeline.unload_lora_weights()
    assert plain.count("miyazaki") == 0
    assert drawn.count("miyazaki") >= 3  # 0.94 of 200 in the report


@pytest.mark.parametrize("style", STYLES)
def test_the_loras_were_trained_on_this_base(style: str) -> None:
    assert read_lora(LORAS / f"{style}.safetensors").metadata[BASE_HASH_KEY] == base_hash(BASE)


def test_the_report_judged_these_very_files() -> None:
    report = json.loads((MODELS / "report.json").read_text())
    found = digests(BASE, LORAS)
    assert set(found["loras"]) == set(STYLES)
    assert report["sha256"] == found, "the weights are new: make model-report"


def test_report_is_published_in_the_model_card_and_nothing_is_missed() -> None:
    report = json.loads((MODELS / "report.json").read_text())
    published = (MODELS / "README.md").read_text()
    targets = targets_of(report)
    assert f"{OPENING}\n{card(report, targets, STRENGTHS)}\n{CLOSING}" in published
    for style, psnr in report["vae_psnr_db"].items():
        assert f"| VAE, {style} | {psnr:.2f} dB |" in published
    for style, result in report["loras"].items():
        assert f"| {style}: named at strength 1 | {result['named_at_1']:.2f} |" in published
        assert f"- {style}: time {result['content_at_1']['time']:.1%}, ground" in published
    assert report["missed"] == [target.name for target in targets if not target.met] == []
    assert report["settings"]["captions"] == report["settings"]["style_captions"] == 200
    assert (MODELS / "report.png").stat().st_size < 400_000
    assert set(report["loras"]) == set(STYLES)
