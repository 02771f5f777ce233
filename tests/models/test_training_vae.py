"""The autoencoder's training: its batches, its loss, and a short run that is gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from models.scenes import STYLES
from models.training import pictures, vae
from models.training.vae import build, picture_loss, sample_batch, to_tensor


@pytest.fixture(scope="module")
def untrained() -> AutoencoderKL:
    torch.manual_seed(0)
    return build()


def test_latents_are_an_eighth_as_large_and_nearly_sure(untrained: AutoencoderKL) -> None:
    with torch.no_grad():
        posterior = untrained.encode(torch.zeros(1, 3, 64, 64)).latent_dist
        assert posterior.mean.shape == (1, 8, 8, 8)
        assert posterior.std.max() < 0.1
        assert untrained.decode(posterior.mean).sample.shape == (1, 3, 64, 64)


def test_pictures_become_minus_one_to_one() -> None:
    drawn = np.array([[[[0, 255, 51]]]], np.uint8)
    assert to_tensor(drawn).flatten().tolist() == pytest.approx([-1, 1, -0.6])


@pytest.mark.parametrize(("more_plain", "styled"), [(0.0, 100), (1.0, 0)])
def test_every_second_picture_is_styled(more_plain: float, styled: int) -> None:
    sets = {name: np.full((4, 128, 128, 3), 255, np.uint8) for name in STYLES}
    sets["plain"] = np.zeros((4, 128, 128, 3), np.uint8)
    rng = np.random.default_rng(0)
    batches = [sample_batch(sets, rng, 16, more_plain) for _ in range(100)]
    assert all(batch.shape == (2, 3, 16, 16) for batch in batches)
    assert sum(batch[1].mean().item() == 1 for batch in batches) == styled
    assert all(batch[0].mean().item() == -1 for batch in batches)


def test_cut_outs_come_from_everywhere_and_are_mirrored() -> None:
    brighter = np.arange(128, dtype=np.uint8)[:, None]  # to the right
    sets = {"plain": np.broadcast_to(brighter, (1, 128, 128, 3))}
    rng = np.random.default_rng(0)
    cuts = [sample_batch(sets, rng, 32, 1.0)[0, 0] for _ in range(200)]
    rising = [bool(cut[0, -1] > cut[0, 0]) for cut in cuts]
    assert 60 < sum(rising) < 140
    darkest = {round((cut.min().item() + 1) * 127.5) for cut in cuts}
    assert min(darkest) <= 3
    assert max(darkest) >= 93


def test_a_blurred_edge_costs_more_than_the_same_error_of_brightness() -> None:
    wanted = torch.zeros(1, 3, 8, 8)
    wanted[..., 4:] = 1
    assert picture_loss(wanted, wanted) == 0
    blurred, shifted = wanted.clone(), wanted + 0.125
    blurred[..., 3], blurred[..., 4] = 0.5, 0.5
    assert (blurred - wanted).abs().mean() == (shifted - wanted).abs().mean()
    assert picture_loss(blurred, wanted) > picture_loss(shifted, wanted)


def small() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        latent_channels=8,
        norm_num_groups=4,
    )


def test_a_run_is_gone_on_with_and_its_decoder_trained_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "WORK", tmp_path)
    monkeypatch.setattr(vae, "WORK", tmp_path)
    monkeypatch.setattr(vae, "build", small)  # of the same parts: eight steps take seconds
    monkeypatch.setattr(vae, "STYLES", ("gothic",))
    noise = np.random.default_rng(0).integers(0, 256, (256, 128, 128, 3), np.uint8)
    for name in ("plain", "gothic"):
        np.save(tmp_path / f"pictures-{name}.npy", noise)

    def run(*options: str) -> AutoencoderKL:
        monkeypatch.setattr("sys.argv", ["vae", *options])
        vae.main()
        return AutoencoderKL.from_pretrained(tmp_path / "vae")

    first = run("--minutes", "0.01")
    with torch.no_grad():
        latents = first.encode(to_tensor(noise[:32])).latent_dist.mode()
    scale = first.config.scaling_factor
    assert (latents * scale).std().item() == pytest.approx(1, abs=0.1)
    steps = torch.load(tmp_path / "vae.pt", weights_only=False)
    second = run("--minutes", "0.05")
    again = torch.load(tmp_path / "vae.pt", weights_only=False)
    assert again["spent"] > steps["spent"] > 0
    third = run("--minutes", "0.01", "--decoder-only")
    kept, trained = second.state_dict(), third.state_dict()
    changed = {name.split(".")[0] for name in kept if not torch.equal(kept[name], trained[name])}
    assert changed == {"decoder", "post_quant_conv"}
    assert third.config.scaling_factor == second.config.scaling_factor
