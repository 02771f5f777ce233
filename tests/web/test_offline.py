"""The page after its server was killed or a file spoilt, and new versions of it, in a Chromium."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.progress import silent
from exporter.publish import SiteSettings, publish
from runtime.bundle import Bundle
from tests.pages import WEB, visitor
from tests.serving import serving
from tests.web.test_site import free_port, http_server, running


@contextmanager
def promised(promise: str, url: str, *details: str) -> Iterator[None]:
    """Yields when the world around the visitor may change, and holds the promise afterwards."""
    with visitor("page/offline.mjs", promise, url, *details) as visiting:
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
        "a server that is killed is named",
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


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda data: data[:-100], "it ends after"),
        (lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:], "its SHA-256"),
    ],
    ids=["truncated", "altered"],
)
def test_a_shard_damaged_on_the_disk(
    damage: Callable[[bytes], bytes], fault: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    shard = bundle / Bundle.open(bundle).manifest.variant("base").graphs[0].shards[-1]
    sound = shard.read_bytes()
    with serving("--bundle", str(bundle), "--page", str(WEB / "dist")) as (_, client):
        while not client.get("readyz").is_success:
            time.sleep(0.1)
        shard.write_bytes(damage(sound))
        retry = "a damaged shard is named; Retry gets the mended one"
        with promised(retry, str(client.base_url), shard.name, fault):
            shard.write_bytes(sound)


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
