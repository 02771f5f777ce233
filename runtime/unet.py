"""The denoiser: one model call, with styles and classifier-free guidance."""

from collections.abc import Mapping

import numpy as np

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.manifest import Provider, UNetVariant
from runtime.tensors import Float32


class UNet:
    """A UNet variant on onnxruntime."""

    def __init__(self, bundle: Bundle, variant: UNetVariant, provider: Provider = "cpu") -> None:
        self.variant = variant
        self._session = bundle.session(bundle.graph(variant, provider), [provider])

    def predict(
        self,
        sample: Float32,
        timestep: float,
        encoder_hidden_states: Float32,
        lora: Mapping[str, Float32],
    ) -> Float32:
        """sample `[n, C, h, w]`, states `[n, T, D]` -> `out_sample`, shaped like `sample`.

        Args:
            sample: the scaled model input.
            timestep: the same for the whole batch.
            encoder_hidden_states: text embeddings.
            lora: `packs.stack(...)` of the whole slot table; empty on a merged variant.
        """
        feeds = {
            "sample": sample,
            "timestep": np.array([timestep], np.float32),
            "encoder_hidden_states": encoder_hidden_states,
        }
        try:
            (out,) = self._session.run(["out_sample"], {**feeds, **lora})
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            what = f"the UNet cannot take latents of the shape {list(sample.shape)} ({error})"
            raise BrushletError(what, todo="choose another picture size") from error
        return np.asarray(out, np.float32)

    def guided(
        self,
        sample: Float32,
        timestep: float,
        embeddings: Float32,
        lora: Mapping[str, Float32],
        guidance_scale: float,
    ) -> Float32:
        """Classifier-free guidance (arXiv:2207.12598) of one picture, in one batch of two.

        Args:
            sample: `[1, C, h, w]`.
            timestep: of this step.
            embeddings: `[2, T, D]`: negative prompt, prompt; or `[1, T, D]`, which is unguided.
            lora: as `predict`.
            guidance_scale: negative + guidance_scale * (prompt - negative).
        """
        batch = np.repeat(sample, len(embeddings), axis=0)
        out = self.predict(batch, timestep, embeddings, lora)
        if len(embeddings) == 1:
            return out
        negative, positive = out[:1], out[1:]
        return negative + np.float32(guidance_scale) * (positive - negative)
