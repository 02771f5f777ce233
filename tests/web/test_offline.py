"""The page after its server was killed, and new versions of it, in a real Chromium."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.progress import silent
from exporter.publish import SiteSettings, publish
from tests.pages import WEB, visitor
from tests.serving import serving
from tests.web.test_site import free_port, http_server, running


@contextmanager
def promised(promise: str, url: str) -> Iterator[None]:
    """Yields when the world around the visitor may change, and holds the promise afterwards."""
    with visitor("page/offline.mjs", promise, url) as visiting:
        assert visiting.stdout
        assert visiting.stdout.readline() == "ready\n", visiting.stdout.read()
        yield
        told, _ = visiting.communicate("go on\n", timeout=600)
        assert told == "kept\n"


@pytest.mark.parametrize(
    "promise",
    [
        "after one visit, a reload paints without network and server",
        "after a visit that painted nothing, a reload paints without network and server",
        "a page without a network still opens, and names what it misses",
    ],
)
def test_the_page_outlives_its_server(promise: str, tiny_bundle: Path) -> None:
    assert (WEB / "dist" / "sw.js").is_file(), "build the page first: make page"
    with (
        serving("--bundle", str(tiny_bundle), "--page", str(WEB / "dist")) as (server, client),
        promised(promise, str(client.base_url)),
    ):
        server.kill()
        server.wait()


def test_a_new_version_asks_before_it_replaces_the_page(tiny_bundle: Path, tmp_path: Path) -> None:
    skip = shutil.ignore_patterns("*.jsep.wasm", "*.asyncify.wasm")
    page = shutil.copytree(WEB / "dist", tmp_path / "page", ignore=skip)
    site, port = tmp_path / "site", free_port()

    def publish_for(server: str) -> None:
        publish(tiny_bundle, page, site, SiteSettings(server=server, quality=0), silent)

    origin = f"http://127.0.0.1:{port}"
    with serving("--bundle", str(tiny_bundle), "--allow-origin", origin) as (_, client):
        publish_for(str(client.base_url))
        with (
            running(port, *http_server(site, port)) as url,
            promised("a new version asks before it replaces the page", url),
        ):
            publish_for(f"http://localhost:{client.base_url.port}/")
