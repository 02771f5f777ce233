"""A published site on real static hosts: nginx with our snippet, and one without any headers."""

import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import brotli
import httpx
import pytest
from PIL import Image

from exporter.export import StyleRequest, export
from exporter.progress import silent
from exporter.publish import SiteSettings, publish
from exporter.publish_report import Report, first_visit
from runtime.bundle import Bundle
from runtime.headers import IMMUTABLE, REVALIDATE
from tests.pages import WEB, visitor
from tests.serving import serving

ROOT = Path(__file__).parents[2]
OTHER_ORIGIN = "https://other.test"
BROTLI_MODULE = Path("/usr/lib/nginx/modules/ngx_http_brotli_static_module.so")
NOT_TO_BE_HAD = 77  # of tests/nginx
QUALITY = 5  # 11 takes half a minute for the WebAssembly alone


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, process.args
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on {port}")


@contextmanager
def running(port: int, *command: str | Path) -> Iterator[str]:
    """A host of its own process; yields its address."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nginx(site: Path, port: int, folder: Path) -> Iterator[str]:
    """The real nginx as the present user, with the site's own snippet; logs to `folder`."""
    found = subprocess.run(ROOT / "tests" / "nginx", capture_output=True, text=True, check=False)
    if found.returncode == NOT_TO_BE_HAD and "CI" not in os.environ:
        pytest.skip(found.stderr.splitlines()[-1])
    assert found.returncode == 0, found.stderr
    folder.mkdir(exist_ok=True)
    snippet = (site / "nginx.conf").read_text()
    modules = ""
    if BROTLI_MODULE.exists():
        modules = f"load_module {BROTLI_MODULE};"
        snippet = snippet.replace("# brotli_static on;", "brotli_static on;")
    (folder / "snippet.conf").write_text(snippet)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(f"""
        {modules}
        {"user root;" if os.getuid() == 0 else ""}
        daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
        events {{}}
        http {{
            {temporary}
            log_format visits '$status $body_bytes_sent "$sent_http_content_encoding" $uri';
            access_log {folder}/access.log visits;
            server {{
                listen 127.0.0.1:{port};
                root {site};
                include {folder}/snippet.conf;
            }}
        }}
    """)
    command = [found.stdout.strip(), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    check = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr
    with running(port, *command) as url:
        yield url


def http_server(site: Path, port: int) -> list[str]:
    """Python's own, which knows nothing of isolation or caching."""
    options = ["--bind", "127.0.0.1", "--directory", str(site), str(port)]
    return [sys.executable, "-m", "http.server", *options]


@dataclass(frozen=True)
class Published:
    """A site with its hosts: `port` and `log` are for nginx."""

    folder: Path
    bundle: Path
    page: Path
    settings: SiteSettings
    report: Report
    port: int
    log: Path
    bare: str


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built page with the one WebAssembly file that these tests load."""
    assert (WEB / "dist" / "sw.js").is_file(), "build the page first: make page"
    skip = shutil.ignore_patterns("*.jsep.wasm", "*.asyncify.wasm")
    return shutil.copytree(WEB / "dist", tmp_path_factory.mktemp("page") / "page", ignore=skip)


@pytest.fixture(scope="module")
def published(
    tiny_bundle: Path, page: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("site")
    bundle = shutil.copytree(tiny_bundle, folder / "dist", copy_function=os.link)
    ports = free_port(), free_port()
    origins = [f"http://127.0.0.1:{port}" for port in ports]
    allowed = [part for origin in origins for part in ("--allow-origin", origin)]
    with serving("--bundle", str(tiny_bundle), *allowed) as (_, client):
        settings = SiteSettings(str(client.base_url), OTHER_ORIGIN, quality=QUALITY)
        site = folder / "site"
        report = publish(bundle, page, site, settings, silent)
        with running(ports[1], *http_server(site, ports[1])) as bare:
            log = folder / "nginx" / "access.log"
            yield Published(site, bundle, page, settings, report, ports[0], log, bare)


@pytest.fixture(scope="module")
def with_headers(published: Published) -> Iterator[str]:
    """Its address at nginx."""
    with nginx(published.folder, published.port, published.log.parent) as url:
        yield url


@pytest.fixture
def client(with_headers: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=with_headers, headers={"Accept-Encoding": "identity"}) as client:
        yield client


def plain_files(site: Path) -> list[str]:
    names = [path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()]
    return [name for name in names if not re.search(r"\.(br|gz)$|^_headers$|^nginx.conf$", name)]


def test_nginx_serves_every_file_with_its_headers(
    client: httpx.Client, published: Published
) -> None:
    names = plain_files(published.folder)
    mutable = {"index.html", "sw.js", "favicon.svg", "bundle/manifest.json"}
    mutable |= {"manifest.webmanifest", "manifest.zh.webmanifest"}
    mutable |= {name for name in names if name.startswith("icons/")}
    assert mutable < set(names)
    for name in names:
        response = client.get(name)
        assert response.content == (published.folder / name).read_bytes(), name
        headers = response.headers
        assert headers["cache-control"] == (REVALIDATE if name in mutable else IMMUTABLE), name
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["cross-origin-resource-policy"] == "cross-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["access-control-allow-origin"] == OTHER_ORIGIN


@pytest.mark.parametrize(
    ("pattern", "media_type"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("assets/index-*.js", "text/javascript; charset=utf-8"),
        ("assets/index-*.css", "text/css; charset=utf-8"),
        ("ort-*/*.mjs", "text/javascript; charset=utf-8"),
        ("ort-*/*.wasm", "application/wasm"),
        ("bundle/*.onnx", "application/octet-stream"),
        ("bundle/*.bin", "application/octet-stream"),
        ("bundle/*.json", "application/json"),
        ("bundle/styles/*.safetensors", "application/octet-stream"),
        ("favicon.svg", "image/svg+xml"),
    ],
)
def test_nginx_and_our_server_agree_on_headers(
    pattern: str, media_type: str, client: httpx.Client, published: Published, tiny_bundle: Path
) -> None:
    path = next(published.folder.glob(pattern)).relative_to(published.folder)
    theirs = client.get(path.as_posix()).headers
    assert theirs["content-type"] == media_type
    with serving(
        "--bundle", str(published.folder / "bundle"), "--page", str(published.folder),
        "--allow-origin", OTHER_ORIGIN,
    ) as (_, ours):  # fmt: skip
        asked = ours.get(path.as_posix(), headers={"Origin": OTHER_ORIGIN}).headers
    for name in (
        "content-type",
        "cache-control",
        "cross-origin-opener-policy",
        "cross-origin-embedder-policy",
        "cross-origin-resource-policy",
        "x-content-type-options",
        "access-control-allow-origin",
    ):
        assert theirs[name] == asked[name], name


def test_the_front_page_is_asked_for_again(client: httpx.Client) -> None:
    response = client.get("")
    assert response.headers["cache-control"] == REVALIDATE
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    again = client.get("", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_manifest_is_revalidated(client: httpx.Client) -> None:
    first = client.get("bundle/manifest.json")
    again = client.get("bundle/manifest.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == REVALIDATE


def test_ranges(client: httpx.Client, published: Published) -> None:
    shard = max((published.folder / "bundle").glob("weights-*.bin"), key=os.path.getsize)
    data, url = shard.read_bytes(), f"bundle/{shard.name}"
    for asked, expected in {"0-9": data[:10], "100-": data[100:], "-7": data[-7:]}.items():
        response = client.get(url, headers={"Range": f"bytes={asked}"})
        assert response.status_code == 206
        assert response.content == expected
        assert response.headers["content-range"].endswith(f"/{len(data)}")
        assert response.headers["cache-control"] == IMMUTABLE
    assert client.get(url, headers={"Range": f"bytes={len(data)}-"}).status_code == 416


def test_what_is_not_there_is_not_kept(client: httpx.Client) -> None:
    response = client.get("bundle/weights-0123456789abcdef.bin")
    assert response.status_code == 404
    assert "cache-control" not in response.headers
    assert response.headers["cross-origin-embedder-policy"] == "require-corp"


@pytest.mark.parametrize("path", ["_headers", "nginx.conf", ".stage-x/a", "bundle/.hidden"])
def test_what_is_not_for_visitors_is_not_served(
    path: str, client: httpx.Client, published: Published
) -> None:
    made = published.folder / path
    if not made.exists():
        made.parent.mkdir(exist_ok=True)
        made.write_text("secret")
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("encoding", "unpack"), [("gzip", gzip.decompress), ("br", brotli.decompress)]
)
def test_compressed_copies_are_served(
    encoding: str, unpack: object, client: httpx.Client, published: Published
) -> None:
    if encoding == "br" and not BROTLI_MODULE.exists():
        pytest.skip("this nginx has no brotli_static")
    for pattern in ("bundle/*.onnx", "bundle/manifest.json", "ort-*/*.wasm", "assets/index-*.js"):
        path = next(published.folder.glob(pattern))
        name = path.relative_to(published.folder).as_posix()
        with client.stream("GET", name, headers={"Accept-Encoding": encoding}) as response:
            raw = b"".join(response.iter_raw())
        assert response.headers["content-encoding"] == encoding
        assert "accept-encoding" in response.headers["vary"].lower()
        assert int(response.headers["content-length"]) < path.stat().st_size * 0.9
        assert unpack(raw) == path.read_bytes()  # type: ignore[operator]
        plain = client.get(name).headers
        assert response.headers["content-type"] == plain["content-type"]
        assert response.headers["cache-control"] == plain["cache-control"]


def test_without_another_origin_nothing_is_shared(
    tiny_bundle: Path, page: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    publish(tiny_bundle, page, site, SiteSettings(quality=0), silent)
    with nginx(site, free_port(), tmp_path / "nginx") as url:
        headers = httpx.get(f"{url}bundle/manifest.json").headers
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def keeps(promise: str, url: str) -> None:
    with visitor("page/site.mjs", promise, url) as process:
        told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told


def test_from_nginx_a_picture_is_painted_with_two_threads(with_headers: str) -> None:
    keeps("headers isolate the page: two threads, no reload", with_headers)


def test_from_a_host_without_headers_too(published: Published) -> None:
    keeps("the service worker isolates the page: two threads, one reload", published.bare)


def test_a_visitor_may_do_without_isolation(published: Published) -> None:
    keeps("isolate=0 asks for no service worker", published.bare)


@pytest.mark.parametrize("worker", [None, "", "this is not JavaScript"])
def test_isolation_that_fails_breaks_nothing(
    worker: str | None, published: Published, tmp_path: Path
) -> None:
    """`worker`: what lies there instead of sw.js. The port is the one that the server allows."""
    own = published.folder / "sw.js"
    kept = own.read_bytes()
    own.unlink()
    try:
        if worker is not None:
            own.write_text(worker)
        keeps("isolation that fails costs threads, not the picture", published.bare)
    finally:
        own.write_bytes(kept)


def test_a_site_without_a_server_paints(tiny_bundle: Path, page: Path, tmp_path: Path) -> None:
    publish(tiny_bundle, page, tmp_path / "site", SiteSettings(quality=0), silent)
    port = free_port()
    with running(port, *http_server(tmp_path / "site", port)) as url:
        keeps("a site without a server paints all the same", url)
        keeps("a site without a server says so where one is asked for", url)


def test_the_report_says_what_visitors_download(
    published: Published,
    with_headers: str,
    tiny_base: Path,
    tiny_loras: dict[str, Path],
    tmp_path: Path,
) -> None:
    """The last test: it publishes another style. Bytes are counted where nginx sends Brotli."""
    brotli_sent = BROTLI_MODULE.exists()

    def fetched() -> dict[str, int]:
        """Body bytes by file since the last call; of icons, and of what works offline, none."""
        lines = [line.split(" ") for line in published.log.read_text().splitlines()]
        published.log.write_text("")  # nginx appends
        got = {}
        for status, count, encoding, uri in lines:
            name = uri.removeprefix("/")
            if name.startswith(("favicon.svg", "icons/", "manifest.", "sw.js")):
                continue  # after the picture, or beside it
            if name == "index.html" and name in got:
                continue  # the service worker's own copy
            if status == "200":
                assert name not in got, f"{name} is fetched twice"
                got[name] = int(count)
                if brotli_sent and (published.folder / f"{name}.br").exists():
                    assert encoding == '"br"', name
        return got

    published.log.write_text("")  # of the tests before
    with visitor("page/site.mjs", "a visitor returns", with_headers) as returning:
        assert returning.stdout
        assert returning.stdout.readline() == "painted\n", returning.stdout.read()
        first = fetched()
        manifest = Bundle.open(published.bundle).manifest
        assert set(first) == first_visit(manifest, published.report.sizes, "wasm")
        if brotli_sent:
            assert sum(first.values()) == published.report.visit.new["wasm"]

        lora = shutil.copy(tiny_loras["wobble"], tmp_path / "late.safetensors")
        Image.effect_noise((64, 64), 50).save(tmp_path / "late.png")
        export(tiny_base, published.bundle, silent, StyleRequest(Path(lora), "external"))
        report = publish(
            published.bundle, published.page, published.folder, published.settings, silent
        )
        returning.communicate("go on\n", timeout=600)
    assert returning.returncode == 0
    again = fetched()
    assert {name.split("-")[0] for name in again} == {"bundle/manifest.json", "bundle/styles/thumb"}
    if brotli_sent:
        assert sum(again.values()) == report.visit.returning["wasm"]
