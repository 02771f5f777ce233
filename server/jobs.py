"""The work behind the endpoints: bytes in, bytes out, in a worker thread."""

import io
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.errors import BadFile
from runtime.tensors import dump_tensors, parse_tensors
from server.engine import Parts
from server.problems import InvalidRequest

BODY = "request body"
PictureFormat = Literal["png", "webp"]
WEBP_QUALITY = 90


class EncodeRequest(BaseModel):
    """A prompt and what the picture should not show."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "prompt": "miyazaki style, a castle, clouds, green hills, day",
                    "negative_prompt": "",
                }
            ]
        },
    )

    prompt: str = Field(description="what to draw, trigger words included")
    negative_prompt: str = Field(default="", description="what guidance steers away from")


def encode_prompts(parts: Parts, body: bytes) -> bytes:
    """JSON of `EncodeRequest` -> safetensors with the embeddings, float32 [1, T, D] each.

    The metadata's `prompt_tokens_cut` and `negative_prompt_tokens_cut` count the tokens that
    were beyond the tokenizer's `max_length`. InvalidRequest when the body is something else.
    """
    try:
        asked = EncodeRequest.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors()
        raise InvalidRequest(
            "; ".join(f"{_key(fault['loc'])}{fault['msg']}" for fault in faults),
            where=_key(faults[0]["loc"]).rstrip(": ") or BODY,
            todo='send {"prompt": "...", "negative_prompt": "..."}',
        ) from None
    prompts = [asked.prompt, asked.negative_prompt]
    cut = [parts.text_encoder.tokenize(prompt).cut for prompt in prompts]
    states = parts.text_encoder.encode(prompts)
    return dump_tensors(
        {"prompt_embeds": states[:1], "negative_prompt_embeds": states[1:]},
        {"prompt_tokens_cut": str(cut[0]), "negative_prompt_tokens_cut": str(cut[1])},
    )


def _key(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, location))}: " if location else ""


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


def encode_image(parts: Parts, body: bytes, max_side: int) -> bytes:
    """A PNG, JPEG or WebP file -> safetensors with `latents` [1, C, h, w] float32, UNet space.

    Transparency is laid on white. BadFile when the body is no such picture or too large;
    BrushletError when its sides are no multiples of the VAE's scale.
    """
    try:
        with Image.open(io.BytesIO(body), formats=["PNG", "JPEG", "WEBP"]) as opened:
            if max(opened.size) > max_side:
                raise BadFile(
                    f"the picture has {opened.width}x{opened.height} pixels",
                    where=BODY,
                    todo=f"stay within {max_side}x{max_side}",
                )
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadFile(
            f"does not open as a picture ({type(error).__name__})",
            where=BODY,
            todo="send a whole PNG, JPEG or WebP file",
        ) from None
    white = Image.new("RGBA", upright.size, "white")
    pixels = np.array(Image.alpha_composite(white, upright).convert("RGB"))
    return dump_tensors({"latents": parts.vae_encoder.encode(pixels[None])}, {})
