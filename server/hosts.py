"""The host names that the server answers to.

A site whose own name is made to resolve to this machine (DNS rebinding) is of the same origin
for a browser; only the Host header tells.
"""

from collections.abc import Sequence

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.problems import problem_response
from server.settings import Settings

ANY = "*"
_EVERY_NETWORK = ("", "0.0.0.0", "::")


def allowed_hosts(settings: Settings) -> tuple[str, ...]:
    """Names without a port; `ANY` when bound to every network and nobody said which it has."""
    if settings.host in _EVERY_NETWORK and not settings.allow_hosts:
        return (ANY,)
    bound = f"[{settings.host}]" if ":" in settings.host else settings.host
    return ("localhost", "127.0.0.1", "[::1]", bound, *settings.allow_hosts)


class KnownHosts:
    """ASGI middleware: Starlette's host check, its refusal told as a problem."""

    def __init__(self, app: ASGIApp, *, allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what is meant for this server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def go_on(scope: Scope, receive: Receive, _refuse: Send) -> None:
            await self._app(scope, receive, send)

        async def refuse(message: Message) -> None:
            if message["type"] == "http.response.start":
                request = Request(scope)
                host = request.headers.get("host", "")
                todo = "use its address, or start the server with --allow-host NAME"
                response = problem_response(
                    request,
                    message["status"],
                    f"Host: {host!r} is no name of this server - {todo}",
                    kind="unknown-host",
                    where="Host",
                    todo=todo,
                )
                await response(scope, receive, send)

        check = TrustedHostMiddleware(go_on, self._allowed, www_redirect=False)
        await check(scope, receive, refuse)
