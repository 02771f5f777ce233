"""The application: settings in, ASGI app out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from runtime.headers import BUNDLE_HASHED, PAGE_HASHED
from server.engine import Engine
from server.headers import IsolationHeaders
from server.hosts import KnownHosts, allowed_hosts
from server.limits import Workers
from server.openapi import install_openapi
from server.problems import NotReady, install_problems
from server.routes import make_routes
from server.settings import Settings
from server.static import Files


def create_app(settings: Settings) -> FastAPI:
    """The server as an ASGI app, which answers at once and is ready when the bundle is open.

    A bundle that is missing or damaged does not stop it: `/readyz` says what is wrong.
    """
    engine = Engine(settings.bundle, settings.retry_seconds)
    workers = Workers(settings.workers, settings.queue, settings.retry_seconds)
    easel = Workers(1, settings.draw_queue, settings.retry_seconds)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        opening = asyncio.create_task(asyncio.to_thread(_open, engine))
        yield
        engine.close()
        await opening

    app = FastAPI(
        title="brushlet",
        version="1",
        summary="Text encoding and VAE work for pictures that are denoised in the browser, and "
        "whole pictures for browsers that cannot.",
        description="Tensors travel as safetensors bodies, errors as RFC 9457 problem JSON. "
        f"A picture may have {settings.max_side} pixels a side (`--max-side`). "
        "A Host header that is none of the server's names is refused (`--allow-host`).",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load a CDN's scripts, which IsolationHeaders forbids
        redoc_url=None,
    )
    app.include_router(make_routes(settings, engine, workers, easel))
    app.mount("/bundle", Files(settings.bundle, BUNDLE_HASHED))
    # Not a mount at "/", which would swallow a wrong method on an endpoint (404 for 405).
    app.router.default = Files(settings.page, PAGE_HASHED, html=True)
    install_problems(app)
    install_openapi(app)
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(KnownHosts, allowed=allowed_hosts(settings))
    app.add_middleware(IsolationHeaders, shared=bool(settings.allow_origins))
    return app


def _open(engine: Engine) -> None:
    with suppress(NotReady):  # /readyz tells
        engine.parts()
