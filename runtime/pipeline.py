"""From a prompt to a picture, all on onnxruntime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count, repeat

import numpy as np
from onnxruntime import OrtValue
from PIL import Image

from runtime import samplers
from runtime.bundle import Bundle
from runtime.deepcache import DeepCache
from runtime.errors import BrushletError, Cancelled
from runtime.guidance import WHOLE, Fractions, guided_calls
from runtime.inpainting import inpainting_conditions
from runtime.manifest import BASE_VARIANT, Provider
from runtime.noise import Generator
from runtime.pictures import fitted
from runtime.styles import Strengths, add_up, choose_styles
from runtime.tags import take_tags
from runtime.tensors import Float32
from runtime.text import TextEncoder
from runtime.unet import UNet
from runtime.vae import Pixels, VaeDecoder, VaeEncoder

OnStep = Callable[[int, int, Float32], None]

IMAGE_STRENGTH = 0.6  # as the page and its library begin with


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
        self._text_encoders: dict[str, TextEncoder] = {}

    @property
    def text_encoder(self) -> TextEncoder:
        """Tokenizer and text encoder of the base."""
        return self.text_encoder_of(BASE_VARIANT)

    def text_encoder_of(self, variant: str) -> TextEncoder:
        """Tokenizer and text encoder of the variant called `variant`."""
        if variant not in self._text_encoders:
            self._text_encoders[variant] = TextEncoder(self.bundle, variant)
        return self._text_encoders[variant]

    @cached_property
    def vae_decoder(self) -> VaeDecoder:
        """The VAE's decoder."""
        return VaeDecoder(self.bundle)

    @cached_property
    def vae_encoder(self) -> VaeEncoder:
        """The VAE's encoder."""
        return VaeEncoder(self.bundle)

    def unet(self, variant: str) -> UNet:
        """The UNet variant called `variant`."""
        if variant not in self._unets:
            found = self.bundle.manifest.variant(variant)
            self._unets[variant] = UNet(self.bundle, found, self._provider)
        return self._unets[variant]

    def run_of(self, sampler: str | None, steps: int | None) -> tuple[str, int]:
        """Sampler and step count as they are given, else the base's, else the bundle's first."""
        manifest = self.bundle.manifest
        hints, samplers = manifest.hints, manifest.samplers
        chosen = sampler or hints.sampler or samplers[0].name
        defaults = {entry.name: entry.default_steps for entry in samplers}
        return chosen, steps or hints.steps or defaults.get(chosen, 0)

    def generate(
        self,
        prompt: str,
        *,
        negative_prompt: str = "",
        styles: Mapping[str, float | Strengths] | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_range: Fractions = WHOLE,
        cache_interval: int = 1,
        sampler: str | None = None,
        size: tuple[int, int] | None = None,
        clip_skip: int = 0,
        image: Image.Image | None = None,
        image_strength: float | None = None,
        mask: Image.Image | None = None,
        on_step: OnStep | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Picture:
        """Draws one picture; the same arguments always give the same one.

        Args:
            prompt: what to draw, in A1111's syntax: weights (see `runtime.prompts`) and style tags
                (see `runtime.tags`), whose strengths are added to those in `styles`.
            negative_prompt: what not to draw, without tags; used when guidance_scale is above 1.
            styles: style name -> strength, or `Strengths` of UNet and text encoder. A merged style
                stands alone, at its own strength.
            seed: 64 bits; the start noise is that of torch's CPU generator.
            steps: default: the base's, else the sampler's.
            guidance_scale: 1 and below: unguided, as in diffusers; default: the base's.
            guidance_range: the part of the run, in fractions, that is guided.
            cache_interval: every how many model calls the UNet's inner layers are computed
                (`runtime.deepcache`); 1: on all.
            sampler: default: the base's, else the bundle's first.
            size: (width, height) in pixels; default: what the model was trained on.
            clip_skip: layers of the text encoder that are left out at its end; 0 for none, where
                A1111 says 1.
            image: what the run begins over, scaled and cut to `size`; what an inpainting base
                paints into, scaled to it.
            image_strength: how much of the run is run over `image`, above 0 to 1; default 0.6. The
                picture is that of diffusers' StableDiffusionImg2ImgPipeline.
            mask: white where an inpainting base paints.
            on_step: called with (model calls done, all model calls, latents `[1, C, h, w]`).
            cancelled: asked before each model call.

        Raises:
            Cancelled: `cancelled` said so.
            BrushletError: an argument the bundle has nothing for.
            BadFile: a damaged bundle.
        """
        manifest = self.bundle.manifest
        hints, model = manifest.hints, manifest.model
        table = self.bundle.sampler(*self.run_of(sampler, steps))
        self._check_pictures(image, image_strength, mask)
        shape = self._latent_shape(size)
        first = 0
        if image and not mask:
            strength = IMAGE_STRENGTH if image_strength is None else image_strength
            first = samplers.first_call(len(table.steps), strength)
        calls = len(table.steps) - first
        prompt, tagged = take_tags(prompt)
        plan = choose_styles(self.bundle, add_up(styles or {}, tagged))
        unet = self.unet(plan.variant)
        scale = hints.guidance_scale if guidance_scale is None else guidance_scale
        guided = guided_calls(guidance_range, calls, scale, model)
        prompts = [negative_prompt, prompt] if guided else [prompt]
        text_encoder = self.text_encoder_of(plan.variant)
        embeddings = text_encoder.encode(prompts, plan.text_inputs(), clip_skip)
        prepared = unet.prepare(embeddings, plan.unet_inputs(), scale)
        alone = prepared.prompt_alone() if 0 < len(guided) < calls else prepared
        noise = Generator(seed)
        pixels = (shape[3] * model.vae_scale, shape[2] * model.vae_scale)
        starts: list[Float32] = []
        begun: samplers.Over | None = None
        conditions: Float32 | None = None
        if image and not mask:
            begun = samplers.Over(self.vae_encoder.sample(fitted(image, pixels), noise), first)
        else:
            starts.append(noise.randn(shape))
        if image and mask:
            conditions = inpainting_conditions(self.vae_encoder, image, mask, pixels, noise)
        numbers = count()
        cache = DeepCache[OrtValue](cache_interval)

        def denoise(sample: Float32, timestep: float) -> Float32:
            if cancelled and cancelled():
                raise Cancelled("cancelled")
            if conditions is not None:
                sample = np.concatenate([sample, conditions], axis=1)
            here = prepared if next(numbers) in guided else alone
            return unet.guided(sample, timestep, here, scale, cache if cache_interval > 1 else None)

        def step_done(done: int, latents: Float32) -> None:
            if on_step:
                on_step(done, calls, latents)

        draws = chain(starts, map(noise.randn, repeat(shape)))
        latents = samplers.run(table, lambda: next(draws), denoise, step_done, begun)
        return Picture(self.vae_decoder.decode(latents)[0], latents)

    def _check_pictures(
        self, image: Image.Image | None, image_strength: float | None, mask: Image.Image | None
    ) -> None:
        model, name = self.bundle.manifest.model, self.bundle.manifest.name
        inpainting = model.in_channels > model.latent_channels
        if inpainting and not (image and mask):
            todo = "give a picture and a mask that is white where to paint"
            raise BrushletError(f"{name} is an inpainting model", todo=todo)
        if not inpainting and mask:
            todo = "leave the mask out, or export an inpainting base"
            raise BrushletError(f"{name} is no inpainting model", todo=todo)
        if image_strength is not None and (inpainting or not image):
            what = "an image strength belongs to a picture that the run begins over"
            todo = "leave it out, or give a picture to a base that is no inpainting model"
            raise BrushletError(what, todo=todo)

    def _latent_shape(self, size: tuple[int, int] | None) -> tuple[int, int, int, int]:
        model = self.bundle.manifest.model
        side = model.sample_size * model.vae_scale
        width, height = size or (side, side)
        if width <= 0 or height <= 0 or width % model.vae_scale or height % model.vae_scale:
            todo = f"make both sides multiples of {model.vae_scale}"
            raise BrushletError(f"a picture cannot have {width}x{height} pixels", todo=todo)
        return (1, model.latent_channels, height // model.vae_scale, width // model.vae_scale)
