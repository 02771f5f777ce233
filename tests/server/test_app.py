import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from server.app import create_app
from server.settings import Settings
from tests.server.conftest import problem, running, until_opened


def test_other_sites_may_call_only_when_allowed(client: httpx.Client, settings: Settings) -> None:
    site = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/v1/styles", headers=site).headers
    allowing = settings.model_copy(update={"allow_origins": ("https://example.org",)})
    with running(create_app(allowing)) as open_client:
        until_opened(open_client)
        headers = open_client.get("/v1/styles", headers=site).headers
        assert headers["access-control-allow-origin"] == "https://example.org"
        assert headers["cross-origin-resource-policy"] == "cross-origin"
        preflight = {**site, "Access-Control-Request-Method": "POST"}
        assert open_client.options("/v1/encode", headers=preflight).is_success


def test_too_many_requests_are_told_to_come_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> bytes:
        time.sleep(1.5)
        return b""

    monkeypatch.setattr("server.routes.encode_prompts", slow)
    one_at_a_time = settings.model_copy(update={"workers": 1, "queue": 1})
    with running(create_app(one_at_a_time)) as client, ThreadPoolExecutor(4) as pool:
        until_opened(client)
        answers = list(
            pool.map(lambda _: client.post("/v1/encode", json={"prompt": "x"}), range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert "busy" in problem(refused, 503, "busy")
        assert refused.headers["retry-after"] == "2"


def test_a_failure_of_ours_is_a_problem_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.routes.encode_prompts", lambda *_: 1 // 0)
    with running(create_app(settings)) as client:
        until_opened(client)
        response = client.post("/v1/encode", json={"prompt": "x"})
        assert "please report it" in problem(response, 500, "internal-server-error")
        assert response.headers["cross-origin-embedder-policy"] == "require-corp"


def test_a_client_that_leaves_in_the_middle_harms_nobody(client: httpx.Client) -> None:
    host, port = client.base_url.host, client.base_url.port
    assert port
    head = f"POST /v1/encode HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, port)) as connection:
        connection.sendall(f'{head}Content-Length: 90\r\n\r\n{{"prompt": '.encode())
    assert client.post("/v1/encode", json={"prompt": "x"}).is_success


def test_openapi_describes_every_endpoint(client: httpx.Client) -> None:
    page = client.get("/openapi.json").json()
    assert set(page["paths"]) == {
        *("/v1/encode", "/v1/decode", "/v1/encode-image", "/v1/styles", "/v1/txt2img"),
        *("/livez", "/readyz"),
    }
    schemas = page["components"]["schemas"]
    assert {"EncodeRequest", "Problem", "Style"} <= set(schemas)
    assert schemas["EncodeRequest"]["examples"][0]["prompt"].startswith("miyazaki style")
    for path, methods in page["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            for status, answer in operation["responses"].items():
                assert answer["description"], (path, status)
                if int(status) >= 400:
                    assert set(answer["content"]) == {"application/problem+json"}, (path, status)
    decode = page["paths"]["/v1/decode"]["post"]
    assert set(decode["responses"]["200"]["content"]) == {"image/png", "image/webp"}
    assert "application/x-safetensors" in decode["requestBody"]["content"]
    encoded = page["paths"]["/v1/encode"]["post"]["responses"]["200"]["content"]
    assert set(encoded) == {"application/x-safetensors"}
    image = page["paths"]["/v1/encode-image"]["post"]
    assert [parameter["name"] for parameter in image["parameters"]] == ["posterior"]
    tensors = image["responses"]["200"]["content"]["application/x-safetensors"]["schema"]
    assert "with `?posterior=true` in its place `posterior`" in tensors["description"]
    too_large = page["paths"]["/v1/encode"]["post"]["responses"]["413"]["description"]
    assert too_large == "The body is larger than 2000 bytes (`--max-prompt-bytes`)."
