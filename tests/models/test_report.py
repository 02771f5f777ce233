"""How the report measures; what the shipped weights reach is in tests/models/test_base.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models import report
from models.classifiers import HEADS, load_judge
from models.report import (
    contact_sheet,
    digests,
    folder_megabytes,
    held_out_scenes,
    load_pipeline,
    paint,
    reconstruction_psnr,
    share_right,
    targets_of,
)
from models.scenes import STYLES, Scene, draw
from models.training.places import BASE
from runtime.files import sha256_file


def test_captions_are_held_out_and_come_once() -> None:
    captions = [scene.caption() for scene in held_out_scenes(40, 5)]
    assert len(set(captions)) == 40
    assert held_out_scenes(10, 5) == held_out_scenes(40, 5)[:10]
    trained = {Scene.sample(seed, "train").caption() for seed in range(3000)}
    assert trained.isdisjoint(captions)


def test_what_the_judge_sees_is_held_against_the_caption() -> None:
    judge, scenes = load_judge(), held_out_scenes(24, 5)
    drawn = np.stack([draw(scene, None) for scene in scenes])
    right = share_right(judge, drawn, scenes)
    assert min(right.values()) >= 0.9
    said = judge.judge(drawn)
    for head, share in right.items():
        agreed = sum(said[head][i] == getattr(scene, head) for i, scene in enumerate(scenes))
        assert share == agreed / 24
    other = {"day": "night", "night": "day", "sunset": "night"}
    lied = [Scene(**{**vars(scene), "time": other.get(scene.time, "day")}) for scene in scenes]
    assert share_right(judge, drawn, lied)["time"] <= 0.1


def test_each_prompt_has_its_own_seed_however_they_are_batched(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, prompts = load_pipeline(tiny_base), ["a castle", "a tree", "the sea"]
    together = paint(pipeline, prompts, steps=2)
    assert (together.shape, together.dtype) == ((3, 128, 128, 3), np.uint8)
    monkeypatch.setattr(report, "BATCH", 2)
    apart = paint(pipeline, prompts, steps=2)
    assert np.abs(apart.astype(int) - together).max() <= 1
    alone = pipeline(
        "the sea",
        height=128,
        width=128,
        num_inference_steps=2,
        guidance_scale=report.GUIDANCE,
        generator=torch.Generator("cpu").manual_seed(2),
        output_type="np",
    ).images[0]
    assert np.abs(np.rint(alone * 255) - together[2]).max() <= 1


def test_the_worse_the_autoencoder_the_lower_its_figure(tiny_base: Path) -> None:
    vae = load_pipeline(tiny_base).vae
    assert 0 < reconstruction_psnr(vae, None, 2) < 20  # random weights
    assert reconstruction_psnr(load_pipeline(BASE).vae, None, 2) > 28


def style_result(scores: list[float], named: float = 0.95) -> dict[str, Any]:
    return {"named_at_1": named, "score_by_strength": dict(zip("abcde", scores, strict=True))}


def test_every_promise_is_held_against_its_figure() -> None:
    rising, falling = [0.0, 0.3, 0.6, 0.8, 0.9], [0.0, 0.3, 0.6, 0.5, 0.9]
    measured = {
        "vae_psnr_db": {"plain": 31.0, "gothic": 26.9},
        "base": {"time": 0.9, "ground": 0.89, "object": 0.6},
        "loras": {"miyazaki": style_result(rising), "gothic": style_result(falling, 0.89)},
    }
    missed = {target.name for target in targets_of(measured) if not target.met}
    assert missed == {
        "VAE, gothic",
        "base: ground right",
        "gothic: named at strength 1",
        "gothic: least step of the score along the strengths",
        "cyberpunk: a LoRA",
    }


def test_the_contact_sheet_is_as_wide_as_its_shortest_row(tmp_path: Path) -> None:
    colours = np.zeros((3, 128, 128, 3), np.uint8)
    colours[1], colours[2] = (255, 0, 0), (0, 0, 255)
    contact_sheet([colours, colours[:2]], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (sheet.format, sheet.size) == ("PNG", (2 * 96, 2 * 96))
        red = sheet.convert("RGB").getpixel((144, 48))
    assert red == (255, 0, 0)


def test_sizes_and_digests_are_those_of_the_files(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "gothic.safetensors").write_bytes(b"x" * 500_000)
    (tmp_path / "other.txt").write_bytes(b"x" * 500_000)
    assert folder_megabytes(tmp_path, "*.safetensors") == 0.5
    found = digests(tiny_base, tmp_path)
    assert found["loras"] == {"gothic": sha256_file(tmp_path / "gothic.safetensors")}
    weights = {path.relative_to(tiny_base).as_posix() for path in tiny_base.rglob("*.safetensors")}
    assert weights <= set(found["base"])
    assert set(STYLES) <= set(HEADS["style"])
