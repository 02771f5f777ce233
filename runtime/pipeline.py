"""From a prompt to a picture, all on onnxruntime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from runtime import samplers
from runtime.bundle import Bundle
from runtime.errors import BrushletError, Cancelled
from runtime.manifest import Provider
from runtime.noise import Generator
from runtime.packs import stack
from runtime.tensors import Float32
from runtime.text import TextEncoder
from runtime.unet import UNet
from runtime.vae import Pixels, VaeDecoder

GUIDANCE_SCALE = 4.0  # what the embedded model is judged at

OnStep = Callable[[int, int, Float32], None]


@dataclass(frozen=True)
class Picture:
    """`pixels [H, W, 3]` RGB, and the `latents [1, C, h, w]` they were decoded from."""

    pixels: Pixels
    latents: Float32

    @property
    def image(self) -> Image.Image:
        """As a Pillow image."""
        return Image.fromarray(self.pixels)


class Pipeline:
    """A bundle's models, each loaded when first needed and kept."""

    def __init__(self, bundle: Bundle, provider: Provider = "cpu") -> None:
        self.bundle = bundle
        self._provider = provider
        self._unets: dict[str, UNet] = {}

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """Tokenizer and text encoder."""
        return TextEncoder(self.bundle)

    @cached_property
    def vae_decoder(self) -> VaeDecoder:
        """The VAE's decoder."""
        return VaeDecoder(self.bundle)

    def unet(self, variant: str) -> UNet:
        """The UNet variant called `variant`."""
        if variant not in self._unets:
            found = self.bundle.manifest.variant(variant)
            self._unets[variant] = UNet(self.bundle, found, self._provider)
        return self._unets[variant]

    def generate(
        self,
        prompt: str,
        *,
        negative_prompt: str = "",
        styles: Mapping[str, float] | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float = GUIDANCE_SCALE,
        sampler: str | None = None,
        size: tuple[int, int] | None = None,
        on_step: OnStep | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Picture:
        """Draws one picture; the same arguments always give the same one.

        Args:
            prompt: what to draw.
            negative_prompt: what not to draw; used when guidance_scale is above 1.
            styles: style name -> strength. A merged style stands alone, at its own strength.
            seed: 64 bits; the start noise is that of torch's CPU generator.
            steps: default: the sampler's.
            guidance_scale: 1 and below: unguided, as in diffusers.
            sampler: default: the bundle's first.
            size: (width, height) in pixels; default: what the model was trained on.
            on_step: called with (model calls done, all model calls, latents `[1, C, h, w]`).
            cancelled: asked before each model call.

        Raises:
            Cancelled: `cancelled` said so.
            BrushletError: an argument the bundle has nothing for.
            BadFile: a damaged bundle.
        """
        manifest = self.bundle.manifest
        chosen = sampler or manifest.samplers[0].name
        defaults = {entry.name: entry.default_steps for entry in manifest.samplers}
        table = self.bundle.sampler(chosen, steps or defaults.get(chosen, 0))
        shape = self._latent_shape(size)
        variant, lora = self._styled(styles or {})
        unet = self.unet(variant)
        guided = guidance_scale > 1
        embeddings = self.text_encoder.encode([negative_prompt, prompt] if guided else [prompt])
        noise = Generator(seed)

        def denoise(sample: Float32, timestep: float) -> Float32:
            if cancelled and cancelled():
                raise Cancelled("cancelled")
            return unet.guided(sample, timestep, embeddings, lora, guidance_scale)

        def step_done(done: int, latents: Float32) -> None:
            if on_step:
                on_step(done, len(table.steps), latents)

        latents = samplers.run(table, lambda: noise.randn(shape), denoise, step_done)
        return Picture(self.vae_decoder.decode(latents)[0], latents)

    def _latent_shape(self, size: tuple[int, int] | None) -> tuple[int, int, int, int]:
        model = self.bundle.manifest.model
        side = model.sample_size * model.vae_scale
        width, height = size or (side, side)
        if width <= 0 or height <= 0 or width % model.vae_scale or height % model.vae_scale:
            todo = f"make both sides multiples of {model.vae_scale}"
            raise BrushletError(f"a picture cannot have {width}x{height} pixels", todo=todo)
        return (1, model.latent_channels, height // model.vae_scale, width // model.vae_scale)

    def _styled(self, styles: Mapping[str, float]) -> tuple[str, Mapping[str, Float32]]:
        """The UNet variant to run, and its LoRA inputs."""
        found = {name: self.bundle.style(name) for name in styles}
        used = {name: strength for name, strength in styles.items() if strength != 0}
        merged = next((found[name] for name in used if found[name].kind == "merged"), None)
        if merged is None:
            packs = [(self.bundle.style_pack(name), strength) for name, strength in used.items()]
            return "base", stack(packs, self.bundle.slot_table())
        if used != {merged.name: merged.merged_strength} or merged.variant is None:
            what = f"the style {merged.name} is merged at the strength {merged.merged_strength}"
            todo = f"use it alone at {merged.merged_strength} or 0, or export it with MODE=external"
            raise BrushletError(what, todo=todo)
        return merged.variant, {}
