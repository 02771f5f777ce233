import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.types import ASGIApp

from server.app import create_app
from server.settings import Settings


@contextmanager
def running(app: ASGIApp) -> Iterator[httpx.Client]:
    """Serves `app` with uvicorn in a thread; yields a client for it."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    host, port = listening.getsockname()
    try:
        with httpx.Client(base_url=f"http://{host}:{port}", timeout=60) as client:
            until_answers(client)
            yield client
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def until_answers(client: httpx.Client) -> None:
    for _ in range(600):
        try:
            if client.get("/livez").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("the server does not answer")


def until_opened(client: httpx.Client) -> httpx.Response:
    """The first answer of /readyz that is not about opening."""
    for _ in range(600):
        response = client.get("/readyz")
        if "being verified" not in response.text:
            return response
        time.sleep(0.05)
    raise AssertionError(response.text)


@pytest.fixture(scope="session")
def tiny_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built page as Vite leaves it."""
    page = tmp_path_factory.mktemp("web") / "dist"
    files = {
        "index.html": "<!doctype html><title>brushlet</title>",
        "assets/index-Dx_3kQ-a.js": "export {};",
        "assets/style.css": "body {}",
        "ort/ort-wasm-simd-threaded.wasm": "\0asm",
        "ort/ort-wasm-simd-threaded.mjs": "export {};",
        "thumb.jpg": "jpeg",
        "thumb.jpeg": "jpeg",
        ".hidden": "secret",
    }
    for name, text in files.items():
        path = page / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (page.parent / "secret.txt").write_text("secret")
    (page / "link.txt").symlink_to(page.parent / "secret.txt")
    return page


@pytest.fixture(scope="session")
def settings(tiny_bundle: Path, tiny_page: Path) -> Settings:
    return Settings(bundle=tiny_bundle, page=tiny_page, max_side=256, max_prompt_bytes=2000)


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[httpx.Client]:
    """A client of a server that is ready."""
    with running(create_app(settings)) as client:
        assert until_opened(client).status_code == 200
        yield client


def picture(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, lossless=True)
    return file.getvalue()


def problem(response: httpx.Response, status: int, kind: str) -> str:
    """Checks the form of a problem and returns its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    content = response.json()
    assert content["type"] == f"urn:brushlet:{kind}"
    assert content["status"] == status
    assert content["title"]
    assert content["instance"] == response.request.url.path
    detail: str = content["detail"]
    assert detail
    return detail
