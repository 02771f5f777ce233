"""The command `python -m server`."""

import socket
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from rich.console import Console

from runtime.bundle import Bundle
from runtime.commands import run
from runtime.errors import BrushletError
from server.app import create_app
from server.hosts import ANY, allowed_hosts
from server.settings import Settings, make_settings

DEFAULT = Settings()
console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    bundle: Annotated[Path, typer.Option(help="folder with a manifest.json")] = DEFAULT.bundle,
    page: Annotated[Path, typer.Option(help="folder with the built page")] = DEFAULT.page,
    host: Annotated[
        str, typer.Option(help="address to listen on; 0.0.0.0 for every network")
    ] = DEFAULT.host,
    port: Annotated[int, typer.Option(help="0 takes a free one")] = DEFAULT.port,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="another site whose pages may call; repeatable")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="another name of this server, * for any, without a port; repeatable"),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="requests computed at the same time")
    ] = DEFAULT.workers,
    queue: Annotated[int, typer.Option(help="requests that may wait")] = DEFAULT.queue,
    draw_queue: Annotated[
        int, typer.Option(help="pictures of /v1/txt2img that may wait; one is drawn at a time")
    ] = DEFAULT.draw_queue,
    max_side: Annotated[
        int, typer.Option(help="longest side of a picture in pixels")
    ] = DEFAULT.max_side,
    max_steps: Annotated[
        int, typer.Option(help="most steps of a picture of /v1/txt2img")
    ] = DEFAULT.max_steps,
    max_prompt_bytes: Annotated[
        int, typer.Option(help="largest body of /v1/encode and /v1/txt2img")
    ] = DEFAULT.max_prompt_bytes,
    max_latents_bytes: Annotated[
        int, typer.Option(help="largest body of /v1/decode")
    ] = DEFAULT.max_latents_bytes,
    max_image_bytes: Annotated[
        int, typer.Option(help="largest body of /v1/encode-image")
    ] = DEFAULT.max_image_bytes,
    body_seconds: Annotated[
        int, typer.Option(help="how long a body may take to arrive")
    ] = DEFAULT.body_seconds,
    connections: Annotated[
        int, typer.Option(help="connections held at the same time; more are answered 503")
    ] = DEFAULT.connections,
    retry_seconds: Annotated[
        int, typer.Option(help="when a busy or unready server is to be asked again")
    ] = DEFAULT.retry_seconds,
    shutdown_seconds: Annotated[
        int, typer.Option(help="how long running requests may take to end at a stop")
    ] = DEFAULT.shutdown_seconds,
) -> None:
    """Serve a bundle: text encoding, VAE work, styles, the files and the page."""
    settings = make_settings(
        bundle=bundle,
        page=page,
        host=host,
        port=port,
        allow_origins=tuple(allow_origin or ()),
        allow_hosts=tuple(allow_host or ()),
        workers=workers,
        queue=queue,
        draw_queue=draw_queue,
        max_side=max_side,
        max_steps=max_steps,
        max_prompt_bytes=max_prompt_bytes,
        max_latents_bytes=max_latents_bytes,
        max_image_bytes=max_image_bytes,
        body_seconds=body_seconds,
        connections=connections,
        retry_seconds=retry_seconds,
        shutdown_seconds=shutdown_seconds,
    )
    Bundle.open(settings.bundle)  # a wrong folder ends here, before anything listens
    if not (settings.page / "index.html").is_file():
        console.print(f"note: no page in {settings.page}; `make page` builds it")
    if ANY in allowed_hosts(settings):
        console.print("note: it answers to any host name; --allow-host NAME makes it stricter")
    listening = listen(settings.host, settings.port)
    console.print(f"brushlet at {url(listening)}", style="bold", highlight=False)
    config = uvicorn.Config(
        create_app(settings),
        log_level="warning",
        server_header=False,
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    uvicorn.Server(config).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; BrushletError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise BrushletError(
            f"cannot listen there: {error.strerror}",
            where=f"{host}:{port}",
            todo="choose another one with --host or --port (PORT= for make)",
        ) from None


def url(listening: socket.socket) -> str:
    """The address for a browser's address bar."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


if __name__ == "__main__":
    run(app)
