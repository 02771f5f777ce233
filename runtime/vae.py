"""Pictures to latents and back, with the conventions of diffusers' `VaeImageProcessor`."""

from typing import Any

import numpy as np

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.noise import Generator
from runtime.tensors import Float32

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class VaeDecoder:
    """Latents to pictures."""

    def __init__(self, bundle: Bundle) -> None:
        self._model = bundle.manifest.model
        self._session = bundle.session(bundle.manifest.vae_decoder.graph)

    def decode(self, latents: Float32) -> Pixels:
        """latents `[n, C, h, w]` -> RGB `[n, H, W, 3]`, H = h * vae_scale."""
        scaled = latents / np.float32(self._model.vae_scaling_factor)
        (sample,) = self._session.run(["sample"], {"latent_sample": scaled})
        unit = np.clip(sample / 2 + 0.5, 0, 1).transpose(0, 2, 3, 1)
        return np.asarray((unit * 255).round(), np.uint8)


class VaeEncoder:
    """Pictures to latents.

    The graph gives mean and log variance of the posterior, or the latents themselves where the
    VAE has no posterior (TAESD).
    """

    def __init__(self, bundle: Bundle) -> None:
        self._model = bundle.manifest.model
        self._session = bundle.session(bundle.manifest.vae_encoder.graph)

    def encode(self, pixels: Pixels) -> Float32:
        """RGB `[n, H, W, 3]` -> latents `[n, C, h, w]`: scaling_factor * mean of the posterior.

        Raises:
            BrushletError: H or W is no multiple of vae_scale.
        """
        return self.posterior(pixels)[:, : self._model.latent_channels]

    def posterior(self, pixels: Pixels) -> Float32:
        """RGB `[n, H, W, 3]` -> `[n, 2 * C, h, w]`: mean, then standard deviation of the latents.

        Without posterior they are the latents alone, `[n, C, h, w]`. Raises as `encode`.
        """
        scale = self._model.vae_scale
        _, height, width, _ = pixels.shape
        if height % scale or width % scale:
            what = f"a picture of {width}x{height} is no whole number of latents"
            raise BrushletError(what, todo=f"make both sides multiples of {scale}")
        sample = 2 * (pixels.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255)) - 1
        return self._scaled(np.concatenate(self._moments(sample), axis=1))

    def sample(self, sample: Float32, noise: Generator) -> Float32:
        """RGB `[n, 3, H, W]` in -1..1 -> latents `[n, C, h, w]` drawn from the posterior."""
        mean, deviation = self._moments(sample)
        if not deviation.size:
            return self._scaled(mean)
        return self._scaled(mean + deviation * noise.randn(mean.shape))

    def _moments(self, sample: Float32) -> tuple[Float32, Float32]:
        """Mean and standard deviation; of no channels where there is no posterior."""
        (parameters,) = self._session.run(["latent_parameters"], {"sample": sample})
        mean, log_variance = np.split(parameters, [self._model.latent_channels], axis=1)
        return mean, np.exp(np.float32(0.5) * np.clip(log_variance, -30, 20))

    def _scaled(self, latents: Float32) -> Float32:
        return np.asarray(latents * self._model.vae_scaling_factor, np.float32)
