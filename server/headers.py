"""Headers that every answer carries."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.headers import common_headers


class IsolationHeaders:
    """ASGI middleware: a cross-origin isolated page, whose files others may embed if allowed."""

    def __init__(self, app: ASGIApp, *, shared: bool) -> None:
        self._app = app
        self._headers = common_headers(shared=shared)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on, and adds to the start of an answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
