"""The endpoints."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from runtime.manifest import Style
from server import openapi
from server.engine import Engine, Parts
from server.jobs import PictureFormat, decode_latents, encode_image, encode_prompts
from server.limits import Workers, read_body
from server.openapi import SAFETENSORS
from server.settings import Settings


class Alive(BaseModel):
    """The process answers."""

    status: str = Field(examples=["alive"])


class Ready(BaseModel):
    """The bundle is verified and its sessions are open."""

    status: str = Field(examples=["ready"])
    bundle: str = Field(description="the base model's name", examples=["base"])
    base_hash: str = Field(description="hash of the base's weights")
    styles: int = Field(description="how many styles the bundle has", examples=[3])


def make_routes(settings: Settings, engine: Engine, workers: Workers) -> APIRouter:
    """Every endpoint but the static files."""
    router = APIRouter()

    async def work(request: Request, job: Callable[[Parts], bytes], media_type: str) -> Response:
        content = await workers.run(request, lambda: job(engine.parts()))
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-store"})

    @router.post("/v1/encode", tags=["work"], **openapi.ENCODE)
    async def encode(request: Request) -> Response:
        """Text embeddings of a prompt and a negative prompt."""
        body = await read_body(request, ("application/json",), settings.max_prompt_bytes)
        return await work(request, lambda parts: encode_prompts(parts, body), SAFETENSORS)

    @router.post("/v1/decode", tags=["work"], **openapi.DECODE)
    async def decode(
        request: Request,
        format: Annotated[PictureFormat, Query(description="kind of picture")] = "png",
    ) -> Response:
        """The picture that latents stand for."""
        types = (SAFETENSORS, "application/octet-stream")
        body = await read_body(request, types, settings.max_latents_bytes)
        return await work(
            request,
            lambda parts: decode_latents(parts, body, format, settings.max_side),
            f"image/{format}",
        )

    @router.post("/v1/encode-image", tags=["work"], **openapi.ENCODE_IMAGE)
    async def encode_picture(request: Request) -> Response:
        """The latents that stand for a picture."""
        types = ("image/png", "image/jpeg", "image/webp", "application/octet-stream")
        body = await read_body(request, types, settings.max_image_bytes)
        return await work(
            request, lambda parts: encode_image(parts, body, settings.max_side), SAFETENSORS
        )

    @router.get("/v1/styles", tags=["work"], responses=openapi.problems(503))
    def styles() -> list[Style]:
        """The styles people can choose; file addresses are relative to `/bundle/`."""
        return engine.parts().bundle.manifest.styles

    @router.get("/livez", tags=["health"])
    async def livez() -> Alive:
        """Whether the process answers at all."""
        return Alive(status="alive")

    @router.get("/readyz", tags=["health"], responses=openapi.problems(503))
    def readyz() -> Ready:
        """Whether requests would be answered; if not, what is missing."""
        manifest = engine.parts().bundle.manifest
        return Ready(
            status="ready",
            bundle=manifest.name,
            base_hash=manifest.base_hash,
            styles=len(manifest.styles),
        )

    return router
