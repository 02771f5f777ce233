"""The UNet's training: what it begins with, and a short run that is gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizerFast

from models.training import unet
from models.training.places import BASE
from models.training.unet import Painter, load_latents, scheduler


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizerFast:
    return CLIPTokenizerFast.from_pretrained(BASE / "tokenizer")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder with 20 latents, and an autoencoder's config that halves them."""
    monkeypatch.setattr(unet, "WORK", tmp_path)
    monkeypatch.setattr(unet, "LATENTS", tmp_path / "latents.pt")
    latents = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 8, 16, 16)))
    torch.save({"latents": latents.to(torch.bfloat16)}, tmp_path / "latents.pt")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text('{"scaling_factor": 0.5}')
    return tmp_path


def test_it_begins_with_no_noise_at_all_and_the_shipped_sizes(tokenizer: CLIPTokenizerFast) -> None:
    torch.manual_seed(0)
    painter = Painter(tokenizer)
    tokens = tokenizer(["a castle"], padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        noise = painter(torch.randn(1, 8, 16, 16), torch.tensor([500]), tokens.input_ids)
    assert noise.shape == (1, 8, 16, 16)
    assert not noise.any()
    shipped = UNet2DConditionModel.from_pretrained(BASE / "unet").state_dict()
    trained = painter.unet.state_dict()
    assert {name: tensor.shape for name, tensor in shipped.items()} == {
        name: tensor.shape for name, tensor in trained.items()
    }
    text = CLIPTextModel.from_pretrained(BASE / "text_encoder").state_dict()
    assert set(text) == set(painter.text_encoder.state_dict())


def test_the_schedule_is_the_one_that_is_shipped() -> None:
    shipped = DDIMScheduler.from_pretrained(BASE / "scheduler")
    torch.testing.assert_close(scheduler().alphas_cumprod, shipped.alphas_cumprod)
    assert scheduler().config.steps_offset == shipped.config.steps_offset


def test_latents_are_scaled_as_the_autoencoder_says(work: Path) -> None:
    stored = torch.load(work / "latents.pt", weights_only=True)["latents"]
    latents = load_latents()
    assert latents.dtype == torch.float32
    torch.testing.assert_close(latents, stored.float() / 2)


class Small(torch.nn.Module):
    """Text encoder and UNet of the same kinds, of which a step takes a moment."""

    forward = Painter.forward

    def __init__(self, tokenizer: CLIPTokenizerFast) -> None:
        super().__init__()
        text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
        ids = {"eos_token_id": tokenizer.eos_token_id, "num_attention_heads": 2}
        self.text_encoder = CLIPTextModel(CLIPTextConfig(len(tokenizer), **text, **ids))
        self.unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=8,
            out_channels=8,
            block_out_channels=(8, 8),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
        )


def test_a_run_is_gone_on_with_and_leaves_the_mean_weights(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unet, "Painter", Small)

    def run(minutes: str) -> dict[str, torch.Tensor]:
        monkeypatch.setattr("sys.argv", ["unet", "--minutes", minutes])
        unet.main()
        CLIPTextModel.from_pretrained(work / "text_encoder")
        return dict(UNet2DConditionModel.from_pretrained(work / "unet").state_dict())

    first = run("0.01")
    before = torch.load(work / "unet.pt", weights_only=False)
    second = run("0.04")
    after = torch.load(work / "unet.pt", weights_only=False)
    assert after["spent"] > before["spent"] > 0
    means = {name.removeprefix("unet."): mean for name, mean in after["ema"]["weights"].items()}
    for name, weight in second.items():
        assert weight.isfinite().all()
        torch.testing.assert_close(weight, means[name])
    assert any(not torch.equal(first[name], second[name]) for name in first)
