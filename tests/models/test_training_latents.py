"""The UNet's training data are the posterior means of the first pictures, in their order."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from models.training import latents, pictures
from models.training.vae import to_tensor


def test_pictures_are_encoded_in_their_order(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_base / "vae", tmp_path / "vae")
    drawn = np.random.default_rng(0).integers(0, 256, (80, 32, 32, 3), np.uint8)
    np.save(tmp_path / "pictures-plain.npy", drawn)
    path = tmp_path / "latents.pt"
    monkeypatch.setattr(pictures, "WORK", tmp_path)
    monkeypatch.setattr(latents, "WORK", tmp_path)
    monkeypatch.setattr(latents, "PATH", path)
    monkeypatch.setattr(latents, "FLUSH", latents.BATCH)
    monkeypatch.setattr("sys.argv", ["latents", "--count", "70"])
    latents.main()

    encoded = torch.load(path, weights_only=True)["latents"]
    assert encoded.shape == (70, 4, 4, 4)
    assert encoded.dtype == torch.bfloat16
    assert not path.with_suffix(".part").exists()
    vae = AutoencoderKL.from_pretrained(tmp_path / "vae")
    with torch.no_grad():
        mean = vae.encode(to_tensor(drawn[:70])).latent_dist.mean
    # 0.07 at most: the encoder itself runs in bfloat16.
    torch.testing.assert_close(encoded.float(), mean, rtol=0, atol=0.15 * mean.std().item())
