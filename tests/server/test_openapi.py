"""Builders of what /openapi.json says; tests/server/test_app.py holds the page itself."""

from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI

from server import openapi
from server.limits import BodyRule
from server.problems import MEDIA_TYPE

RULE = BodyRule(
    media_types=("application/json", "text/json"),
    max_bytes=1234,
    max_bytes_option="--max-prompt-bytes",
    seconds=7,
)
ENDPOINTS = {
    "encode": openapi.encode,
    "decode": openapi.decode,
    "encode-image": openapi.encode_image,
    "txt2img": openapi.txt2img,
}


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    app = FastAPI(title="small", version="1")
    openapi.install_openapi(app)

    @app.get("/plain", responses=openapi.problems(503))
    def plain(count: Annotated[int, Body()] = 1) -> int:
        return count

    for name, describe in ENDPOINTS.items():
        app.post(f"/v1/{name}", **describe(RULE))(lambda: None)
    assert app.openapi() is app.openapi()  # made once
    return app.openapi()


@pytest.mark.parametrize("name", ENDPOINTS)
def test_limits_are_told_with_the_options_that_change_them(name: str, page: dict[str, Any]) -> None:
    answers = page["paths"][f"/v1/{name}"]["post"]["responses"]
    assert "larger than 1234 bytes (`--max-prompt-bytes`)" in answers["413"]["description"]
    assert "within 7 s (`--body-seconds`)" in answers["408"]["description"]


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_body_is_read_in_each_media_type_of_its_rule(name: str, page: dict[str, Any]) -> None:
    body = page["paths"][f"/v1/{name}"]["post"]["requestBody"]
    assert body["required"]
    assert set(body["content"]) == set(RULE.media_types)


def test_every_error_is_a_problem_and_every_reference_is_there(page: dict[str, Any]) -> None:
    statuses = {"400", "408", "413", "415", "422", "503"}
    for name in ENDPOINTS:
        answers = page["paths"][f"/v1/{name}"]["post"]["responses"]
        assert set(answers) == {"200", *statuses}
        assert all(set(answers[status]["content"]) == {MEDIA_TYPE} for status in statuses)
    schemas = page["components"]["schemas"]
    found = set(references(page))
    assert {"Problem", "EncodeRequest", "DrawRequest", "PromptStyle", "DrawStyle"} <= found
    assert found <= set(schemas)
    assert not any("$defs" in schema for schema in schemas.values())


def references(value: object) -> list[str]:
    """The names of all schemas that are referred to."""
    if isinstance(value, dict):
        own = [value["$ref"].rpartition("/")[2]] if "$ref" in value else []
        return own + [name for inner in value.values() for name in references(inner)]
    return (
        [name for inner in value for name in references(inner)] if isinstance(value, list) else []
    )


def test_a_picture_is_bytes(page: dict[str, Any]) -> None:
    for name, kinds in {
        "decode": {"image/png", "image/webp"},
        "txt2img": {"image/png", "image/webp"},
        "encode": {openapi.SAFETENSORS},
        "encode-image": {openapi.SAFETENSORS},
    }.items():
        content = page["paths"][f"/v1/{name}"]["post"]["responses"]["200"]["content"]
        assert set(content) == kinds
        assert all(kind["schema"]["format"] == "binary" for kind in content.values())
