"""Whole pictures from words, for visitors whose own device cannot draw: `/v1/txt2img`."""

import io
from collections.abc import Callable
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.pipeline import Pipeline
from runtime.styles import Strengths
from runtime.text import TextEncoder
from runtime.unet import UNet
from runtime.vae import VaeDecoder
from server.engine import Parts
from server.jobs import WEBP_QUALITY, PictureFormat, by_name
from server.problems import InvalidRequest, invalid_request

_UNETS = 2  # that stay open: the base's and a merged style's, which is as large


class DrawStyle(BaseModel):
    """A style, with its strength on each model."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="one of `/v1/styles`")
    strength: float = Field(allow_inf_nan=False, description="on the UNet")
    te: float | None = Field(
        default=None, allow_inf_nan=False, description="on the text encoder; default: `strength`"
    )


class DrawRequest(BaseModel):
    """What to draw; what is left out is as the base's makers advise."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "prompt": "miyazaki style, a castle, clouds, green hills, day",
                    "negative_prompt": "night",
                    "styles": [{"name": "miyazaki", "strength": 0.8, "te": 0.8}],
                    "seed": 7,
                    "steps": 20,
                    "guidance_scale": 4.0,
                    "guidance_range": [0.0, 0.8],
                    "cache_interval": 1,
                    "clip_skip": 0,
                    "sampler": "ddim",
                    "width": 128,
                    "height": 128,
                }
            ]
        },
    )

    prompt: str = Field(description="what to draw, trigger words included")
    negative_prompt: str = Field(default="", description="what guidance steers away from")
    styles: list[DrawStyle] = Field(
        default=[], description="a merged style alone, at its own strength"
    )
    seed: int = Field(default=0, ge=0, lt=2**53, description="the same seed, the same picture")
    steps: int | None = Field(
        default=None,
        ge=1,
        description="default: the base's or sampler's, or the server's limit where that is lower",
    )
    guidance_scale: float | None = Field(
        default=None, allow_inf_nan=False, description="1 and below: none; default: the base's"
    )
    guidance_range: tuple[float, float] = Field(
        default=(0.0, 1.0), description="the part of the run that is guided, in fractions of it"
    )
    cache_interval: int = Field(
        default=1, ge=1, description="every how many steps the UNet's inner layers are computed"
    )
    clip_skip: int = Field(
        default=0, ge=0, description="layers of the text encoder left out at its end"
    )
    sampler: str | None = Field(default=None, description="default: the base's")
    width: int | None = Field(
        default=None, ge=1, description="in pixels, a multiple of 8; default: the base's"
    )
    height: int | None = Field(
        default=None, ge=1, description="in pixels, a multiple of 8; default: the base's"
    )


class Painter(Pipeline):
    """Draws with the sessions that the server has open anyway, and UNets of its own."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.bundle)
        self._parts = parts

    def text_encoder_of(self, variant: str) -> TextEncoder:
        """The server's."""
        return self._parts.text_encoder_of(variant)

    @cached_property
    def vae_decoder(self) -> VaeDecoder:
        """The server's."""
        return self._parts.vae_decoder

    def unet(self, variant: str) -> UNet:
        """Of few merged styles at a time."""
        if variant not in self._unets and len(self._unets) >= _UNETS:
            self._unets.clear()
        return super().unet(variant)


class Studio:
    """The painter of the bundle as it lies on disk now. For one thread at a time."""

    def __init__(self) -> None:
        self._painter: Painter | None = None

    def draw(
        self,
        parts: Parts,
        body: bytes,
        picture_format: PictureFormat,
        limits: tuple[int, int],
        cancelled: Callable[[], bool],
    ) -> bytes:
        """JSON of `DrawRequest` -> a PNG or WebP file: `runtime`'s picture.

        Args:
            parts: the open bundle.
            body: the request's.
            picture_format: of the answer.
            limits: longest side in pixels, most steps.
            cancelled: asked before each model call.

        Raises:
            InvalidRequest: the body is something else, or more than the limits allow.
            Cancelled: `cancelled` said so.
            BrushletError, BadFile, WrongBase: as `Pipeline.generate`.
        """
        asked = _parse(body)
        side = parts.bundle.manifest.model.sample_size * parts.bundle.manifest.model.vae_scale
        size = (asked.width or side, asked.height or side)
        max_side, max_steps = limits
        if max(size) > max_side:
            what = f"the picture would be {size[0]}x{size[1]} pixels"
            todo = f"stay within {max_side}x{max_side}"
            raise InvalidRequest(what, where="width" if size[0] > max_side else "height", todo=todo)
        if (asked.steps or 0) > max_steps:
            todo = f"ask for {max_steps} at most"
            raise InvalidRequest(f"{asked.steps} steps are too many", where="steps", todo=todo)
        if self._painter is None or self._painter.bundle is not parts.bundle:
            self._painter = Painter(parts)
        sampler, steps = self._painter.run_of(asked.sampler, asked.steps)
        picture = self._painter.generate(
            asked.prompt,
            negative_prompt=asked.negative_prompt,
            styles=_strengths(asked.styles),
            seed=asked.seed,
            steps=min(steps, max_steps),
            guidance_scale=asked.guidance_scale,
            guidance_range=asked.guidance_range,
            sampler=sampler,
            size=size,
            clip_skip=asked.clip_skip,
            cache_interval=asked.cache_interval,
            cancelled=cancelled,
        )
        file = io.BytesIO()
        picture.image.save(file, picture_format.upper(), quality=WEBP_QUALITY)
        return file.getvalue()


def _parse(body: bytes) -> DrawRequest:
    try:
        return DrawRequest.model_validate_json(body)
    except ValidationError as error:
        todo = 'send {"prompt": "...", "seed": 7}; /openapi.json lists the other fields'
        raise invalid_request(error, todo) from None


def _strengths(styles: list[DrawStyle]) -> dict[str, Strengths]:
    return {
        name: Strengths(style.strength, style.strength if style.te is None else style.te)
        for name, style in by_name(styles).items()
    }
