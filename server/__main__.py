"""The command `python -m server`."""

import socket
from pathlib import Path
from typing import Annotated, Any

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


def _about(key: str) -> Any:
    """An option that says what the setting says of itself."""
    return typer.Option(help=Settings.model_fields[key].description)


@app.command()
def serve(
    bundle: Annotated[Path, _about("bundle")] = DEFAULT.bundle,
    page: Annotated[Path, _about("page")] = DEFAULT.page,
    host: Annotated[str, _about("host")] = DEFAULT.host,
    port: Annotated[int, _about("port")] = DEFAULT.port,
    allow_origin: Annotated[list[str] | None, _about("allow_origins")] = None,
    allow_host: Annotated[list[str] | None, _about("allow_hosts")] = None,
    workers: Annotated[int, _about("workers")] = DEFAULT.workers,
    queue: Annotated[int, _about("queue")] = DEFAULT.queue,
    draw_queue: Annotated[int, _about("draw_queue")] = DEFAULT.draw_queue,
    max_side: Annotated[int, _about("max_side")] = DEFAULT.max_side,
    max_steps: Annotated[int, _about("max_steps")] = DEFAULT.max_steps,
    max_prompt_bytes: Annotated[int, _about("max_prompt_bytes")] = DEFAULT.max_prompt_bytes,
    max_latents_bytes: Annotated[int, _about("max_latents_bytes")] = DEFAULT.max_latents_bytes,
    max_image_bytes: Annotated[int, _about("max_image_bytes")] = DEFAULT.max_image_bytes,
    body_seconds: Annotated[int, _about("body_seconds")] = DEFAULT.body_seconds,
    connections: Annotated[int, _about("connections")] = DEFAULT.connections,
    retry_seconds: Annotated[int, _about("retry_seconds")] = DEFAULT.retry_seconds,
    shutdown_seconds: Annotated[int, _about("shutdown_seconds")] = DEFAULT.shutdown_seconds,
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
