"""What the OpenAPI page says beyond the types: binary bodies, examples, problems."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from server import examples
from server.jobs import EncodeRequest, PromptStyle
from server.limits import BodyRule
from server.painting import DrawRequest, DrawStyle
from server.problems import MEDIA_TYPE, Problem

SAFETENSORS = "application/x-safetensors"
_SCHEMAS = "#/components/schemas/"
_PROBLEMS = {
    400: "The body is damaged or not what the endpoint reads.",
    408: "The body did not arrive in time.",
    413: "The body is larger than the server's limit.",
    415: "The Content-Type is none that the endpoint reads.",
    422: "The request is well-formed and cannot be done.",
    503: "Not ready, or too busy; `Retry-After` says when to come back.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Error answers for an endpoint's `responses`."""
    schema = {"$ref": f"{_SCHEMAS}{Problem.__name__}"}
    return {
        status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def _binary(says: str, *media_types: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary", "description": says}
    return {media_type: {"schema": schema} for media_type in media_types}


def _endpoint(
    rule: BodyRule, example: str, body: dict[str, Any], says: str, answer: dict[str, Any]
) -> dict[str, Any]:
    errors = problems(400, 408, 413, 415, 422, 503)
    errors[408]["description"] = (
        f"The body did not arrive within {rule.seconds} s (`--body-seconds`)."
    )
    errors[413]["description"] = (
        f"The body is larger than {rule.max_bytes} bytes (`{rule.max_bytes_option}`)."
    )
    request_body = {"required": True, "description": example, "content": body}
    return {
        "response_class": Response,
        "openapi_extra": {"requestBody": request_body},
        "responses": {200: {"description": says, "content": answer}, **errors},
    }


def encode(rule: BodyRule) -> dict[str, Any]:
    """What `/v1/encode` reads and answers."""
    schema = {"$ref": f"{_SCHEMAS}{EncodeRequest.__name__}"}
    return _endpoint(
        rule,
        examples.ENCODE,
        {media_type: {"schema": schema} for media_type in rule.media_types},
        "Two embeddings of one length: 77 tokens for each 75 of the longer prompt.",
        _binary(
            "`prompt_embeds` and `negative_prompt_embeds`, float32 [1, T, D] each", SAFETENSORS
        ),
    )


def decode(rule: BodyRule) -> dict[str, Any]:
    """What `/v1/decode` reads and answers."""
    says = "`latents`, float32 [1, C, h, w], as the UNet's denoising leaves them"
    return _endpoint(
        rule,
        examples.DECODE,
        _binary(says, *rule.media_types),
        "The picture.",
        _binary("8 pixels a latent, or whatever the VAE's scale is", "image/png", "image/webp"),
    )


def encode_image(rule: BodyRule) -> dict[str, Any]:
    """What `/v1/encode-image` reads and answers."""
    says = "a picture whose sides are multiples of the VAE's scale (8)"
    return _endpoint(
        rule,
        examples.ENCODE_IMAGE,
        _binary(says, *rule.media_types),
        "The posterior's mean, scaled as the UNet wants it; or, with `?posterior=true`, its mean "
        "and standard deviation, from which image-to-image draws.",
        _binary(
            "`latents`, float32 [1, C, h, w]; with `?posterior=true` in its place `posterior`, "
            "float32 [1, 2 * C, h, w], or [1, C, h, w], the latents alone, where the VAE has no "
            "posterior",
            SAFETENSORS,
        ),
    )


def txt2img(rule: BodyRule) -> dict[str, Any]:
    """What `/v1/txt2img` reads and answers."""
    schema = {"$ref": f"{_SCHEMAS}{DrawRequest.__name__}"}
    return _endpoint(
        rule,
        examples.TXT2IMG,
        {media_type: {"schema": schema} for media_type in rule.media_types},
        "The picture, equal to that of `python -m runtime generate`.",
        _binary("of the size that was asked for", "image/png", "image/webp"),
    )


def styles() -> dict[int | str, dict[str, Any]]:
    """What `/v1/styles` answers."""
    return {200: {"content": {"application/json": {"example": examples.STYLES}}}, **problems(503)}


def install_openapi(app: FastAPI) -> None:
    """Adds the schemas that only error answers and hand-read bodies refer to."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            page = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
            )
            schemas = page.setdefault("components", {}).setdefault("schemas", {})
            for model in (EncodeRequest, PromptStyle, DrawRequest, DrawStyle, Problem):
                schema = model.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}")
                schema.pop("$defs", None)
                schemas[model.__name__] = schema
            app.openapi_schema = page
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way
