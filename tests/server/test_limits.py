import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from runtime.errors import Cancelled
from server.limits import Workers
from server.problems import Busy


def request(connected: bool = True) -> Request:
    async def receive() -> Message:
        if connected:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError


def test_as_many_as_there_are_workers_run_and_the_queue_is_short() -> None:
    async def scenario() -> None:
        workers = Workers(workers=2, queue=1, retry_seconds=5)
        release = threading.Event()
        running: list[int] = []

        def job(number: int) -> Callable[[], int]:
            def work() -> int:
                running.append(number)
                release.wait(30)
                return number

            return work

        async def ask(number: int) -> int:
            return await workers.run(request(), job(number))

        tasks = [asyncio.create_task(ask(number)) for number in range(3)]
        await until(lambda: len(running) == 2)
        with pytest.raises(Busy, match="with 1 requests waiting - try again in 5 s") as caught:
            await ask(3)
        assert caught.value.headers() == {"Retry-After": "5"}
        assert sorted(running) == [0, 1]
        release.set()
        assert await asyncio.gather(*tasks) == [0, 1, 2]

    asyncio.run(scenario())


def test_a_failure_frees_the_worker() -> None:
    async def scenario() -> None:
        workers = Workers(workers=1, queue=0, retry_seconds=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await workers.run(request(), lambda: 1 // 0)
        assert await workers.run(request(), lambda: 7) == 7

    asyncio.run(scenario())


def test_nothing_is_done_for_a_client_that_left() -> None:
    async def scenario() -> None:
        workers = Workers(workers=1, queue=1, retry_seconds=1)
        done: list[int] = []
        waiting: Awaitable[None] = workers.run(request(False), lambda: done.append(1))
        with pytest.raises(ClientDisconnect):
            await waiting
        assert not done
        await workers.run(request(), lambda: done.append(2))
        assert done == [2]

    asyncio.run(scenario())


def test_long_work_ends_when_the_client_leaves() -> None:
    async def scenario() -> None:
        workers = Workers(workers=1, queue=0, retry_seconds=1)
        left = asyncio.Event()

        async def receive() -> Message:
            await left.wait()
            return {"type": "http.disconnect"}

        asked = Request({"type": "http", "method": "POST", "headers": []}, receive)
        begun = threading.Event()

        def work(gone: Callable[[], bool]) -> None:
            begun.set()
            for _ in range(6000):
                if gone():
                    raise Cancelled("cancelled")
                threading.Event().wait(0.005)

        running = asyncio.create_task(workers.run_long(asked, work))
        await until(begun.is_set)
        left.set()
        with pytest.raises(ClientDisconnect):
            await running
        assert await workers.run_long(request(), lambda gone: gone()) is False

    asyncio.run(scenario())
