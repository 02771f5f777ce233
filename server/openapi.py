"""What the OpenAPI page says beyond the types: binary bodies, examples, problems."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from server.jobs import EncodeRequest
from server.problems import MEDIA_TYPE, Problem

SAFETENSORS = "application/x-safetensors"
_SCHEMAS = "#/components/schemas/"
_PROBLEMS = {
    400: "The body is damaged or not what the endpoint reads.",
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


def _endpoint(body: dict[str, Any], says: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "response_class": Response,
        "openapi_extra": {"requestBody": {"required": True, "content": body}},
        "responses": {
            200: {"description": says, "content": answer},
            **problems(400, 413, 415, 422, 503),
        },
    }


ENCODE = _endpoint(
    {"application/json": {"schema": {"$ref": f"{_SCHEMAS}{EncodeRequest.__name__}"}}},
    "Two embeddings. The metadata counts the tokens that were cut off.",
    _binary("`prompt_embeds` and `negative_prompt_embeds`, float32 [1, T, D] each", SAFETENSORS),
)
DECODE = _endpoint(
    _binary(
        "`latents`, float32 [1, C, h, w], as the UNet's denoising leaves them",
        SAFETENSORS,
        "application/octet-stream",
    ),
    "The picture.",
    _binary("8 pixels a latent, or whatever the VAE's scale is", "image/png", "image/webp"),
)
ENCODE_IMAGE = _endpoint(
    _binary(
        "a picture whose sides are multiples of the VAE's scale (8)",
        "image/png",
        "image/jpeg",
        "image/webp",
        "application/octet-stream",
    ),
    "The posterior's mean, scaled as the UNet wants it.",
    _binary("`latents`, float32 [1, C, h, w]", SAFETENSORS),
)


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
            for model in (EncodeRequest, Problem):
                schemas[model.__name__] = model.model_json_schema()
            app.openapi_schema = page
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way
