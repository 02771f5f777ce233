"""How much a request may bring, and how many are worked on at once."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from server.problems import Busy, TooLarge, WrongMediaType

T = TypeVar("T")


async def read_body(request: Request, media_types: tuple[str, ...], limit: int) -> bytes:
    """The request's body.

    Raises:
        WrongMediaType: the Content-Type is given and none of `media_types`.
        TooLarge: the body has more than `limit` bytes; reading stops there.
    """
    media_type = request.headers.get("content-type", media_types[0]).partition(";")[0].strip()
    if media_type.lower() not in media_types:
        raise WrongMediaType(
            f"cannot read {media_type!r}",
            where="Content-Type",
            todo=f"send {' or '.join(media_types)}",
        )
    too_large = TooLarge(
        f"the body is larger than {limit} bytes",
        where="request body",
        todo="send less, or start the server with a higher limit",
    )
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    chunks: list[bytes] = []
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


class Workers:
    """A few threads with a short queue before them."""

    def __init__(self, workers: int, queue: int, retry_seconds: int) -> None:
        self._threads = asyncio.Semaphore(workers)
        self._places = queue
        self._retry_seconds = retry_seconds
        self._waiting = 0

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """Calls `work` in a thread, after those that came before.

        Raises:
            Busy: the queue is full.
            ClientDisconnect: the client left while it was waiting, so nothing was done.
        """
        if self._threads.locked() and self._waiting >= self._places:
            raise Busy(
                f"the server is busy, with {self._waiting} requests waiting",
                seconds=self._retry_seconds,
            )
        self._waiting += 1
        try:
            await self._threads.acquire()
        finally:
            self._waiting -= 1
        try:
            if await request.is_disconnected():
                raise ClientDisconnect
            return await anyio.to_thread.run_sync(work)
        finally:
            self._threads.release()
