"""Every way in which a request can fail, as a client of a small app sees it."""

import logging
from collections.abc import Iterator
from typing import Annotated, ClassVar

import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException

from runtime.errors import BadFile, BrushletError, WrongBase
from server.problems import (
    BODY,
    Busy,
    HttpProblem,
    InvalidRequest,
    NotReady,
    SlowBody,
    TooLarge,
    WrongMediaType,
    install_problems,
    invalid_request,
)
from tests.server.conftest import problem, running


class Teapot(HttpProblem):
    status: ClassVar[int] = 418


ERRORS: dict[str, Exception] = {
    "brushlet-error": BrushletError("cannot be done", where="here", todo="do another thing"),
    "bad-file": BadFile("is empty", where="l.safetensors", todo="save it again"),
    "wrong-base": WrongBase("is for another base", where="style", todo="export the base"),
    "not-ready": NotReady("is being verified", seconds=3),
    "busy": Busy("the server is busy", seconds=2),
    "slow-body": SlowBody("the body did not arrive", where=BODY),
    "too-large": TooLarge("larger than 3 bytes", where=BODY),
    "wrong-media-type": WrongMediaType("text/plain is not read"),
    "invalid-request": InvalidRequest("says nothing", where="prompt"),
    "teapot": Teapot("short and stout"),
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    app = FastAPI()
    install_problems(app)

    @app.get("/error/{kind}")
    def fail(kind: str) -> None:
        raise ERRORS[kind]

    @app.get("/typed")
    def typed(count: Annotated[int, Query(ge=1)], size: Annotated[int, Query(ge=1)] = 1) -> int:
        return count * size

    @app.get("/gone")
    def gone() -> None:
        raise HTTPException(410, "was here once", headers={"X-Since": "2020"})

    @app.get("/livez")
    def livez() -> None:
        pass

    with running(app) as client:
        yield client


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("brushlet-error", 422),
        ("bad-file", 400),
        ("wrong-base", 422),
        ("not-ready", 503),
        ("busy", 503),
        ("slow-body", 408),
        ("too-large", 413),
        ("wrong-media-type", 415),
        ("invalid-request", 422),
        ("teapot", 418),
    ],
)
def test_an_error_has_its_status_and_says_where_and_what_to_do(
    kind: str, status: int, client: httpx.Client
) -> None:
    error = ERRORS[kind]
    assert isinstance(error, BrushletError)
    answer = client.get(f"/error/{kind}")
    assert problem(answer, status, kind) == str(error)
    content = answer.json()
    assert content.get("where", "") == error.where
    assert content.get("todo", "") == error.todo
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-embedder-policy"] == "require-corp"


def test_those_who_shall_come_back_are_told_when(client: httpx.Client) -> None:
    assert client.get("/error/not-ready").headers["retry-after"] == "3"
    assert client.get("/error/busy").json()["todo"] == "try again in 2 s"
    never = NotReady("is damaged", seconds=None, todo="export it again")
    assert (never.headers(), never.todo) == ({}, "export it again")


def test_the_rest_of_a_slow_body_is_not_waited_for(client: httpx.Client) -> None:
    assert client.get("/error/slow-body").headers["connection"] == "close"


def test_every_wrong_parameter_is_named(client: httpx.Client) -> None:
    answer = client.get("/typed", params={"count": "many", "size": 0})
    detail = problem(answer, 422, "invalid-request")
    assert "query.count: Input should be a valid integer" in detail
    assert "query.size: Input should be greater than or equal to 1" in detail
    assert answer.json()["where"] == "query.count"


def test_an_unknown_path_and_a_wrong_method(client: httpx.Client) -> None:
    assert "/openapi.json lists" in problem(client.get("/nowhere"), 404, "not-found")
    wrong = client.post("/typed")
    assert "Allow header" in problem(wrong, 405, "method-not-allowed")
    assert wrong.headers["allow"] == "GET"


def test_headers_of_an_http_exception_stay(client: httpx.Client) -> None:
    answer = client.get("/gone")
    assert problem(answer, 410, "gone") == "GET /gone: was here once"
    assert answer.headers["x-since"] == "2020"


def test_a_fault_of_ours_is_logged_and_tells_nothing_of_itself(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "brushlet.server"):
        answer = client.get("/error/none")
    assert "KeyError" not in problem(answer, 500, "internal-server-error")
    assert "GET /error/none failed: KeyError('none')" in caplog.text


def test_the_first_fault_of_a_body_has_its_place_and_the_others_follow() -> None:
    class Asked(BaseModel):
        model_config = ConfigDict(extra="forbid")
        prompt: str
        seed: int = 0

    with pytest.raises(ValidationError) as caught:
        Asked.model_validate({"seed": "x", "more": 1})
    found = invalid_request(caught.value, "send a prompt")
    assert found.where == "prompt"
    assert str(found).startswith("prompt: Field required; seed: Input should be a valid integer")
    assert "; more: Extra inputs are not permitted" in str(found)
    with pytest.raises(ValidationError) as caught:
        Asked.model_validate_json("{")
    assert invalid_request(caught.value, "").where == BODY
