import json
import socket
from pathlib import Path

import httpx
import pytest

from runtime.headers import IMMUTABLE, REVALIDATE
from tests.server.conftest import problem


@pytest.fixture(scope="session")
def shard(tiny_bundle: Path) -> Path:
    return max(tiny_bundle.glob("weights-*.bin"), key=lambda path: path.stat().st_size)


def test_every_file_of_the_bundle_is_served_whole(client: httpx.Client, tiny_bundle: Path) -> None:
    for path in tiny_bundle.rglob("*"):
        if path.is_file():
            name = path.relative_to(tiny_bundle).as_posix()
            response = client.get(f"/bundle/{name}")
            assert response.content == path.read_bytes(), name
            expected = REVALIDATE if name in ("manifest.json", "report.json") else IMMUTABLE
            assert response.headers["cache-control"] == expected, name
            if path.suffix in (".onnx", ".bin", ".safetensors"):
                assert response.headers["content-type"] == "application/octet-stream", name


@pytest.mark.parametrize(
    ("path", "media_type", "cache_control"),
    [
        ("/", "text/html; charset=utf-8", REVALIDATE),
        ("/index.html", "text/html; charset=utf-8", REVALIDATE),
        ("/assets/index-Dx_3kQ-a.js", "text/javascript; charset=utf-8", IMMUTABLE),
        ("/assets/style.css", "text/css; charset=utf-8", REVALIDATE),
        ("/ort/ort-wasm-simd-threaded.wasm", "application/wasm", REVALIDATE),
        ("/ort/ort-wasm-simd-threaded.mjs", "text/javascript; charset=utf-8", REVALIDATE),
        ("/thumb.jpg", "image/jpeg", REVALIDATE),
        ("/thumb.jpeg", "image/jpeg", REVALIDATE),
        ("/bundle/manifest.json", "application/json", REVALIDATE),
    ],
)
def test_types_and_caching(
    client: httpx.Client, path: str, media_type: str, cache_control: str
) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert response.headers["cache-control"] == cache_control


@pytest.mark.parametrize(
    "path", ["/", "/bundle/manifest.json", "/v1/styles", "/livez", "/nothing", "/v1/encode"]
)
def test_every_answer_is_isolated(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_the_manifest_is_revalidated(client: httpx.Client) -> None:
    first = client.get("/bundle/manifest.json")
    again = client.get("/bundle/manifest.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == REVALIDATE
    other = client.get("/bundle/manifest.json", headers={"If-None-Match": '"other"'})
    assert other.json() == json.loads(first.content)


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("0-9", 0, 9), ("100-", 100, None), ("-7", -7, None)]
)
def test_ranges(
    client: httpx.Client, shard: Path, asked: str, first: int, last: int | None
) -> None:
    data = shard.read_bytes()
    response = client.get(f"/bundle/{shard.name}", headers={"Range": f"bytes={asked}"})
    expected = data[first : None if last is None else last + 1]
    assert response.status_code == 206
    assert response.content == expected
    start = first % len(data)
    end = start + len(expected) - 1
    assert response.headers["content-range"] == f"bytes {start}-{end}/{len(data)}"


def test_a_range_of_an_older_file_is_the_whole_new_one(client: httpx.Client, shard: Path) -> None:
    url, part = f"/bundle/{shard.name}", {"Range": "bytes=5-"}
    etag = client.head(url).headers["etag"]
    assert client.get(url, headers={**part, "If-Range": etag}).status_code == 206
    changed = client.get(url, headers={**part, "If-Range": '"older"'})
    assert changed.status_code == 200
    assert changed.content == shard.read_bytes()


def test_a_range_beyond_the_end(client: httpx.Client, shard: Path) -> None:
    size = shard.stat().st_size
    response = client.get(f"/bundle/{shard.name}", headers={"Range": f"bytes={size}-"})
    problem(response, 416, "range-not-satisfiable")
    assert response.headers["content-range"] == f"bytes */{size}"


def test_a_malformed_range(client: httpx.Client, shard: Path) -> None:
    response = client.get(f"/bundle/{shard.name}", headers={"Range": "bytes=9-2"})
    problem(response, 400, "bad-request")


def test_head_has_no_body(client: httpx.Client, shard: Path) -> None:
    response = client.head(f"/bundle/{shard.name}")
    assert response.content == b""
    assert response.headers["content-length"] == str(shard.stat().st_size)


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/../../secret.txt",
        "/bundle/../../secret.txt",
        "/bundle/%2e%2e/%2e%2e/secret.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/..%5csecret.txt",
        "/link.txt",
        "/.hidden",
        "/assets/%00",
        "/" + "x" * 5000,
    ],
)
def test_nothing_outside_or_hidden_is_served(client: httpx.Client, path: str) -> None:
    """Sent as it stands, for httpx would tidy the path."""
    host, port = client.base_url.host, client.base_url.port
    assert port
    with socket.create_connection((host, port), timeout=30) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404"), answer[:200]
    assert b"secret" not in answer.partition(b"\r\n\r\n")[2].replace(b"secret.txt", b"")
