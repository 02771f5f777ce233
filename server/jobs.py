"""The work behind the endpoints: bytes in, bytes out, in a worker thread."""

import io
from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.errors import BadFile
from runtime.pictures import on_white
from runtime.styles import choose_styles
from runtime.tensors import dump_tensors, parse_tensors
from server.engine import Parts
from server.problems import BODY, InvalidRequest, invalid_request

PictureFormat = Literal["png", "webp"]
WEBP_QUALITY = 90


class _Named(Protocol):
    name: str


_Style = TypeVar("_Style", bound=_Named)


class PromptStyle(BaseModel):
    """A style, as far as it changes what words mean."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="of a style whose `models` name the text encoder")
    te: float = Field(allow_inf_nan=False, description="its strength on the text encoder")


class EncodeRequest(BaseModel):
    """A prompt, what the picture should not show, and the styles that read them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "prompt": "miyazaki style, a (castle:1.2), clouds, green hills, day",
                    "negative_prompt": "[fog]",
                    "styles": [{"name": "miyazaki", "te": 0.8}],
                    "clip_skip": 1,
                }
            ]
        },
    )

    prompt: str = Field(
        description="what to draw, trigger words included; `(word:1.2)`, `[word]` and `BREAK` as in"
        " A1111. A `<lora:...>` tag is refused: it belongs in `styles`, and to who denoises"
    )
    negative_prompt: str = Field(default="", description="what guidance steers away from")
    styles: list[PromptStyle] = Field(
        default=[], description="a merged style alone, at its own strength"
    )
    clip_skip: int = Field(
        default=0,
        ge=0,
        description="layers of the text encoder that are left out at its end; 0 for none, where"
        " A1111 says 1",
    )


def by_name(styles: Sequence[_Style]) -> dict[str, _Style]:
    """The styles of a request; InvalidRequest when one is named twice."""
    found = {style.name: style for style in styles}
    if len(found) < len(styles):
        what = "names a style twice"
        raise InvalidRequest(what, where="styles", todo="add its strengths up")
    return found


def encode_prompts(parts: Parts, body: bytes) -> bytes:
    """JSON of `EncodeRequest` -> safetensors with the embeddings, float32 [1, T, D] each.

    T is the tokenizer's `max_length` times the chunks of the longer prompt. InvalidRequest when the
    body is something else; BrushletError, BadFile and WrongBase as `choose_styles` and
    `TextEncoder.encode`.
    """
    try:
        asked = EncodeRequest.model_validate_json(body)
    except ValidationError as error:
        todo = 'send {"prompt": "...", "negative_prompt": "...", "styles": [], "clip_skip": 0}'
        raise invalid_request(error, todo) from None
    strengths = {name: style.te for name, style in by_name(asked.styles).items()}
    chosen = choose_styles(parts.bundle, strengths)
    text_encoder = parts.text_encoder_of(chosen.variant)
    prompts = [asked.prompt, asked.negative_prompt]
    states = text_encoder.encode(prompts, chosen.text_inputs(), asked.clip_skip)
    return dump_tensors({"prompt_embeds": states[:1], "negative_prompt_embeds": states[1:]}, {})


def decode_latents(
    parts: Parts, body: bytes, picture_format: PictureFormat, max_side: int
) -> bytes:
    """safetensors with `latents` [1, C, h, w] in UNet space -> a PNG or WebP file.

    BadFile when the body is not that, or the picture would be larger than `max_side` pixels.
    """
    tensors, _ = parse_tensors(body, BODY)
    model = parts.bundle.manifest.model
    todo = f"send one float32 tensor `latents` [1, {model.latent_channels}, h, w]"
    if set(tensors) != {"latents"}:
        raise BadFile(f"holds {', '.join(sorted(tensors))}", where=BODY, todo=todo)
    latents = tensors["latents"]
    shape = list(latents.shape)
    if len(shape) != 4 or shape[:2] != [1, model.latent_channels] or latents.dtype.kind != "f":
        raise BadFile(f"latents are {latents.dtype} {shape}", where=BODY, todo=todo)
    height, width = shape[2] * model.vae_scale, shape[3] * model.vae_scale
    if max(height, width) > max_side:
        raise BadFile(
            f"the picture would be {width}x{height} pixels",
            where=BODY,
            todo=f"stay within {max_side}x{max_side}",
        )
    pixels = parts.vae_decoder.decode(latents.astype(np.float32))
    file = io.BytesIO()
    Image.fromarray(pixels[0]).save(file, picture_format.upper(), quality=WEBP_QUALITY)
    return file.getvalue()


def encode_image(parts: Parts, body: bytes, max_side: int, posterior: bool = False) -> bytes:
    """A PNG, JPEG or WebP file -> safetensors with `latents` [1, C, h, w] float32, UNet space.

    With `posterior`, it is `posterior` [1, 2 * C, h, w] instead: mean and standard deviation of the
    latents; the latents alone, [1, C, h, w], where the VAE has none.

    Transparency is laid on white. BadFile when the body is no such picture or too large;
    BrushletError when its sides are no multiples of the VAE's scale.
    """
    try:
        with Image.open(io.BytesIO(body), formats=["PNG", "JPEG", "WEBP"]) as opened:
            if max(opened.size) > max_side:
                raise _too_many_pixels(f"{opened.width}x{opened.height}", max_side)
            opaque = on_white(ImageOps.exif_transpose(opened))
    except Image.DecompressionBombError:
        raise _too_many_pixels("far too many", max_side) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadFile(
            f"does not open as a picture ({type(error).__name__})",
            where=BODY,
            todo="send a whole PNG, JPEG or WebP file",
        ) from None
    pixels = np.array(opaque)
    if posterior:
        return dump_tensors({"posterior": parts.vae_encoder.posterior(pixels[None])}, {})
    return dump_tensors({"latents": parts.vae_encoder.encode(pixels[None])}, {})


def _too_many_pixels(how_many: str, max_side: int) -> BadFile:
    todo = f"stay within {max_side}x{max_side}"
    return BadFile(f"the picture has {how_many} pixels", where=BODY, todo=todo)
