"""The denoiser: one model call, with styles and guidance."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnxruntime import InferenceSession, OrtValue

from runtime.bundle import Bundle
from runtime.deepcache import DeepCache
from runtime.errors import BrushletError
from runtime.manifest import Provider, UNetGraph, UNetVariant
from runtime.tensors import Array, Float32

DEEP = "deep_features"


@dataclass(frozen=True)
class Prepared:
    """What a UNet's steps share: folded weights, keys and values of the prompt, LoRA inputs."""

    batch: int
    feeds: Mapping[str, OrtValue]
    per_prompt: frozenset[str]  # the feeds with a row for each text embedding

    def prompt_alone(self) -> "Prepared":
        """The same for the last text embedding alone: without guidance."""
        rows = {name: self.feeds[name].numpy()[-1:].copy() for name in self.per_prompt}
        alone = {name: OrtValue.ortvalue_from_numpy(array) for name, array in rows.items()}
        return Prepared(1, {**self.feeds, **alone}, self.per_prompt)


Cache = DeepCache[OrtValue]


class UNet:
    """A UNet variant on onnxruntime. `graph`: one of the variant's; default: the provider's."""

    def __init__(
        self,
        bundle: Bundle,
        variant: UNetVariant,
        provider: Provider = "cpu",
        graph: UNetGraph | None = None,
    ) -> None:
        self.variant = variant
        self._frequencies = np.array(bundle.manifest.model.guidance_frequencies, np.float32)
        self.graph = graph or bundle.graph(variant, provider)
        self._bundle, self._provider = bundle, provider
        self._shortcut: InferenceSession | None = None
        self._prepare = bundle.session(self.graph, [provider], self.graph.prepare)
        self._step = bundle.session(self.graph, [provider])

    def prepare(
        self,
        encoder_hidden_states: Float32,
        lora: Mapping[str, Float32],
        guidance_scale: float = 1.0,
    ) -> Prepared:
        """Computes what stays the same from step to step; needed again when any of it changes.

        Args:
            encoder_hidden_states: text embeddings `[n, T, D]`.
            lora: `packs.stack(...)`, for the whole slot table; empty on a merged variant.
            guidance_scale: of a UNet that is told it (LCM, arXiv:2310.04378); unused by others.
        """
        inputs = {"encoder_hidden_states": encoder_hidden_states, **lora}
        if self._frequencies.size:
            inputs["timestep_cond"] = _condition(guidance_scale, self._frequencies)
        return self._prepared(inputs)

    def _prepared(self, inputs: Mapping[str, Float32]) -> Prepared:
        bound = {name: OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        taken = {value.name: bound[value.name] for value in self._prepare.get_inputs()}
        names = [value.name for value in self._prepare.get_outputs()]
        computed = zip(names, self._prepare.run_with_ort_values(names, taken), strict=True)
        known = {**bound, **dict(computed)}
        wanted = {value.name: value.shape[0] for value in self._step.get_inputs()}
        feeds = {name: known[name] for name in wanted if name in known}
        per_prompt = frozenset(name for name in feeds if wanted[name] == "batch")
        return Prepared(len(inputs["encoder_hidden_states"]), feeds, per_prompt)

    def predict(
        self, sample: Float32, timestep: float, prepared: Prepared, cache: Cache | None = None
    ) -> Float32:
        """sample `[n, in_channels, h, w]` -> `out_sample [n, C, h, w]`.

        Args:
            sample: the scaled model input.
            timestep: the same for the whole batch.
            prepared: from `prepare`, with n text embeddings.
            cache: of the run, where not every call is to be whole.

        Raises:
            BrushletError: other channels than the UNet's.
        """
        feeds: dict[str, Array] = {"sample": sample, "timestep": np.array([timestep], np.float32)}
        try:
            bound = {name: OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
            out = self._run({**bound, **prepared.feeds}, prepared, cache)
        except BrushletError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            what = f"the UNet cannot take latents of the shape {list(sample.shape)} ({error})"
            raise BrushletError(what, todo=self._advice(sample)) from error
        return np.asarray(out.numpy(), np.float32)

    def _advice(self, sample: Float32) -> str:
        channels = self._bundle.manifest.model.in_channels
        if sample.ndim != 4 or sample.shape[1] != channels:
            return f"it takes [n, {channels}, h, w]"
        return "choose another picture size, or export the bundle again"

    def _run(self, feeds: dict[str, OrtValue], prepared: Prepared, cache: Cache | None) -> OrtValue:
        if cache is None:
            (out,) = self._step.run_with_ort_values(["out_sample"], feeds)
            return out
        if (features := cache.take(prepared)) is not None:
            session = self._open_shortcut()
            wanted = [value.name for value in session.get_inputs()]
            known = {**feeds, DEEP: features}
            (out,) = session.run_with_ort_values(
                ["out_sample"], {name: known[name] for name in wanted}
            )
            return out
        out, features = self._step.run_with_ort_values(["out_sample", DEEP], feeds)
        cache.keep(prepared, features)
        return out

    def _open_shortcut(self) -> InferenceSession:
        if self._shortcut is None:
            self._shortcut = self._bundle.session(self.graph, [self._provider], self.graph.shortcut)
        return self._shortcut

    def step(self, feeds: Mapping[str, Float32]) -> Float32:
        """`out_sample` of one step, all inputs by name as a golden vector has them."""
        steady = {name: feeds[name] for name in feeds if name not in ("sample", "timestep")}
        return self.predict(feeds["sample"], float(feeds["timestep"][0]), self._prepared(steady))

    def guided(
        self,
        sample: Float32,
        timestep: float,
        prepared: Prepared,
        guidance_scale: float,
        cache: Cache | None = None,
    ) -> Float32:
        """Classifier-free guidance (arXiv:2207.12598) of one picture, in one batch of two.

        A UNet that was distilled together with its guidance (LCM, arXiv:2310.04378) is told the
        scale instead.

        A UNet that is told the guidance is given one embedding, and has it in `prepared`.

        Args:
            sample: `[1, C, h, w]`.
            timestep: of this step.
            prepared: of two embeddings: negative prompt, prompt; or of one, which is unguided.
            guidance_scale: negative + guidance_scale * (prompt - negative).
            cache: as in `predict`.
        """
        out = self.predict(np.repeat(sample, prepared.batch, axis=0), timestep, prepared, cache)
        if prepared.batch == 1:
            return out
        negative, positive = out[:1], out[1:]
        return negative + np.float32(guidance_scale) * (positive - negative)


def _condition(guidance_scale: float, frequencies: Float32) -> Float32:
    """`timestep_cond [1, F]`: diffusers' `get_guidance_scale_embedding`, rounded as there."""
    angles = np.float32(guidance_scale - 1) * np.float32(1000) * frequencies
    waves = [wave(angles.astype(float)) for wave in (np.sin, np.cos)]
    return np.concatenate(waves)[None].astype(np.float32)
