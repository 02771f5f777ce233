"""How much a request may bring, and how many are worked on at once."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio.to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from runtime.errors import Cancelled
from server.problems import Busy, SlowBody, TooLarge, WrongMediaType

T = TypeVar("T")

_LOOK_SECONDS = 0.2  # between two looks whether a client is still there


@dataclass(frozen=True)
class BodyRule:
    """What the body of a request may be."""

    media_types: tuple[str, ...]
    max_bytes: int
    max_bytes_option: str
    """The option of `python -m server` that sets `max_bytes`."""
    seconds: int
    """How long it may take to arrive."""

    async def read(self, request: Request) -> bytes:
        """The request's body.

        Raises:
            WrongMediaType: the Content-Type is missing or none of `media_types`. A missing one
                is refused because a browser sends such a body to any site without asking it.
            TooLarge: the body has more than `max_bytes`; reading stops there.
            SlowBody: it has not arrived after `seconds`.
        """
        media_type = request.headers.get("content-type", "").partition(";")[0].strip()
        if media_type.lower() not in self.media_types:
            raise WrongMediaType(
                f"cannot read {media_type!r}" if media_type else "is missing",
                where="Content-Type",
                todo=f"send {' or '.join(self.media_types)}",
            )
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.seconds):
                return await self._receive(request)
        except TimeoutError:
            raise SlowBody(
                f"did not arrive within {self.seconds} s",
                where="request body",
                todo="send less or faster, or start the server with a higher --body-seconds",
            ) from None

    async def _receive(self, request: Request) -> bytes:
        chunks: list[bytes] = []
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > self.max_bytes:
                raise self._too_large()
            chunks.append(chunk)
        return b"".join(chunks)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the body is larger than {self.max_bytes} bytes",
            where="request body",
            todo=f"send less, or start the server with a higher {self.max_bytes_option}",
        )


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

    async def run_long(self, request: Request, work: Callable[[Callable[[], bool]], T]) -> T:
        """The same for work that can be ended early: it is given what says whether to.

        Raises:
            Busy: the queue is full.
            ClientDisconnect: the client left.
        """
        gone = threading.Event()

        async def watch() -> None:
            while not await request.is_disconnected():
                await asyncio.sleep(_LOOK_SECONDS)
            gone.set()

        watching = asyncio.create_task(watch())
        try:
            return await self.run(request, lambda: work(gone.is_set))
        except Cancelled:
            raise ClientDisconnect from None
        finally:
            gone.set()  # also when the server ends
            watching.cancel()
