"""The endpoints."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from runtime.manifest import Style
from server import examples, openapi
from server.engine import Engine, Parts
from server.jobs import PictureFormat, decode_latents, encode_image, encode_prompts
from server.limits import BodyRule, Workers
from server.openapi import SAFETENSORS
from server.painting import Studio
from server.settings import Settings


class Alive(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})

    status: str


class Ready(BaseModel):
    """The bundle is verified and its sessions are open."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.READY]})

    status: str
    bundle: str = Field(description="the base model's name")
    base_hash: str = Field(description="hash of the base's weights")
    styles: int = Field(description="how many styles the bundle has")


def make_routes(settings: Settings, engine: Engine, workers: Workers, easel: Workers) -> APIRouter:
    """Every endpoint but the static files. `easel` has one worker, who draws whole pictures."""
    router = APIRouter()
    studio = Studio()
    seconds = settings.body_seconds
    prompts = BodyRule(
        ("application/json",), settings.max_prompt_bytes, "--max-prompt-bytes", seconds
    )
    tensors = BodyRule(
        (SAFETENSORS, "application/octet-stream"),
        settings.max_latents_bytes,
        "--max-latents-bytes",
        seconds,
    )
    pictures = BodyRule(
        ("image/png", "image/jpeg", "image/webp", "application/octet-stream"),
        settings.max_image_bytes,
        "--max-image-bytes",
        seconds,
    )

    async def work(request: Request, job: Callable[[Parts], bytes], media_type: str) -> Response:
        content = await workers.run(request, lambda: job(engine.parts()))
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-store"})

    @router.post("/v1/encode", tags=["work"], **openapi.encode(prompts))
    async def encode(request: Request) -> Response:
        """Text embeddings of a prompt and a negative prompt."""
        body = await prompts.read(request)
        return await work(request, lambda parts: encode_prompts(parts, body), SAFETENSORS)

    @router.post("/v1/decode", tags=["work"], **openapi.decode(tensors))
    async def decode(
        request: Request,
        format: Annotated[PictureFormat, Query(description="kind of picture")] = "png",
    ) -> Response:
        """The picture that latents stand for."""
        body = await tensors.read(request)
        return await work(
            request,
            lambda parts: decode_latents(parts, body, format, settings.max_side),
            f"image/{format}",
        )

    @router.post("/v1/encode-image", tags=["work"], **openapi.encode_image(pictures))
    async def encode_picture(
        request: Request,
        posterior: Annotated[
            bool, Query(description="mean and standard deviation, for image-to-image")
        ] = False,
    ) -> Response:
        """The latents that stand for a picture."""
        body = await pictures.read(request)
        return await work(
            request,
            lambda parts: encode_image(parts, body, settings.max_side, posterior),
            SAFETENSORS,
        )

    @router.post("/v1/txt2img", tags=["work"], **openapi.txt2img(prompts))
    async def txt2img(
        request: Request,
        format: Annotated[PictureFormat, Query(description="kind of picture")] = "png",
    ) -> Response:
        """A whole picture from words; a client that leaves ends it within one step."""
        body = await prompts.read(request)
        limits = (settings.max_side, settings.max_steps)
        content = await easel.run_long(
            request, lambda gone: studio.draw(engine.parts(), body, format, limits, gone)
        )
        headers = {"Cache-Control": "no-store"}
        return Response(content, media_type=f"image/{format}", headers=headers)

    @router.get("/v1/styles", tags=["work"], responses=openapi.styles())
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
