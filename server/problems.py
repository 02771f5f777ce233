"""Errors as problem JSON (RFC 9457): what is wrong, where, and what to do."""

import http
import logging
import re
from collections.abc import Mapping
from typing import ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from runtime.errors import BadFile, BrushletError
from runtime.headers import ISOLATION

MEDIA_TYPE = "application/problem+json"
BODY = "request body"

logger = logging.getLogger("brushlet.server")


class Problem(BaseModel):
    """RFC 9457, with `where` and `todo` beside its members."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:brushlet:bad-file",
                    "title": "Bad Request",
                    "status": 400,
                    "detail": "is empty - download or save the file again",
                    "instance": "/v1/decode",
                    "where": "request body",
                    "todo": "download or save the file again",
                }
            ]
        }
    )

    type: str = Field(description="the kind of problem, as a URN")
    title: str = Field(description="the HTTP status in words")
    status: int
    detail: str = Field(description="what is wrong and what to do, in one line")
    instance: str = Field(description="the path that was asked for")
    where: str = Field(default="", description="the field, key or file that is wrong")
    todo: str = Field(default="", description="what to do about it")


class HttpProblem(BrushletError):
    """A problem with an HTTP status of its own."""

    status: ClassVar[int]

    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        return {}


class _ComeBack(HttpProblem):
    status = 503

    def __init__(self, what: str, *, seconds: int | None, where: str = "", todo: str = "") -> None:
        wait = "" if seconds is None else f"try again in {seconds} s"
        super().__init__(what, where=where, todo=todo or wait)
        self.seconds = seconds

    def headers(self) -> dict[str, str]:
        """When to come back; nothing where waiting alone will not help."""
        return {} if self.seconds is None else {"Retry-After": str(self.seconds)}


class NotReady(_ComeBack):
    """The bundle is not open, yet or any more."""


class Busy(_ComeBack):
    """Every worker is taken and the queue is full."""


class SlowBody(HttpProblem):
    """The body did not arrive in time."""

    status = 408

    def headers(self) -> dict[str, str]:
        """The rest of the body will not be read."""
        return {"Connection": "close"}


class TooLarge(HttpProblem):
    """The body is larger than the settings allow."""

    status = 413


class WrongMediaType(HttpProblem):
    """The body is of a kind that the endpoint does not read."""

    status = 415


class InvalidRequest(HttpProblem):
    """The body is well-formed and says something that cannot be done."""

    status = 422


def _faults(error: ValidationError | RequestValidationError) -> list[tuple[str, str]]:
    """Where each fault is, as `styles.0.te`, and what it is."""
    return [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]


def invalid_request(error: ValidationError, todo: str) -> InvalidRequest:
    """What is wrong with a body: its first fault in its place, the others behind it."""
    faults = _faults(error)
    (where, what), *others = faults
    told = [what, *(f"{key}: {fault}" if key else fault for key, fault in others)]
    return InvalidRequest("; ".join(told), where=where or BODY, todo=todo)


def problem_response(
    request: Request,
    status: int,
    detail: str,
    *,
    kind: str = "",
    where: str = "",
    todo: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer for one problem; `kind` defaults to the status, for example `not-found`."""
    title = http.HTTPStatus(status).phrase
    problem = Problem(
        type=f"urn:brushlet:{kind or title.lower().replace(' ', '-')}",
        title=title,
        status=status,
        detail=detail,
        instance=request.url.path,
        where=where,
        todo=todo,
    )
    return JSONResponse(
        problem.model_dump(exclude_defaults=True),
        status_code=status,
        headers={**ISOLATION, "Cache-Control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def install_problems(app: FastAPI) -> None:
    """Makes every error of `app` a problem."""
    app.add_exception_handler(BrushletError, _brushlet_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(ClientDisconnect, _disconnect)
    app.add_exception_handler(Exception, _unexpected)


def _brushlet_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BrushletError)
    if isinstance(error, HttpProblem):
        status, headers = error.status, error.headers()
    else:
        status, headers = 400 if isinstance(error, BadFile) else 422, {}
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
    return problem_response(
        request,
        status,
        str(error),
        kind=kind,
        where=error.where,
        todo=error.todo,
        headers=headers,
    )


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = _faults(error)
    return problem_response(
        request,
        422,
        "; ".join(f"{where}: {what}" for where, what in faults),
        kind="invalid-request",
        where=faults[0][0],
        todo="/openapi.json describes every endpoint",
    )


_HTTP_KIND = {416: "range-not-satisfiable"}  # named differently by each Python version
_HTTP_TODO = {
    404: "/openapi.json lists every endpoint; the bundle lies under /bundle/",
    405: "the Allow header names the methods that work",
    416: "the Content-Range header holds the file's length",
}


def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    todo = _HTTP_TODO.get(error.status_code, "")
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return problem_response(
        request,
        error.status_code,
        f"{detail} - {todo}" if todo else detail,
        kind=_HTTP_KIND.get(error.status_code, ""),
        todo=todo,
        headers=error.headers,
    )


def _disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # nginx's number for a client that left; nobody reads it


def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed: %r", request.method, request.url.path, error)
    todo = "the server's log says more; please report it"
    return problem_response(request, 500, f"the server failed - {todo}", todo=todo)
