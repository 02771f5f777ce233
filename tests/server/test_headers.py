from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from runtime.headers import common_headers
from server.headers import IsolationHeaders
from tests.server.conftest import running


@pytest.fixture(params=[True, False], ids=["shared", "our own"])
def shared(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def client(shared: bool) -> Iterator[httpx.Client]:
    begun: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        begun.append("started")
        yield

    async def page(_request: object) -> Response:
        own = {"Cache-Control": "no-cache", "X-Content-Type-Options": "mine"}
        return PlainTextResponse(begun[0], headers=own)

    app = Starlette(routes=[Route("/", page), Route("/livez", page)], lifespan=lifespan)
    with running(IsolationHeaders(app, shared=shared)) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_every_answer_carries_them_once(path: str, client: httpx.Client, shared: bool) -> None:
    answer = client.get(path)
    for name, value in common_headers(shared=shared).items():
        assert answer.headers.get_list(name) == [value]


def test_headers_of_its_own_and_the_lifespan_pass(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.text == "started"


def test_others_may_embed_only_what_is_shared(client: httpx.Client, shared: bool) -> None:
    policy = "cross-origin" if shared else "same-origin"
    assert client.get("/").headers["cross-origin-resource-policy"] == policy
