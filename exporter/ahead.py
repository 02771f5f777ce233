"""Work done in threads while what came before it is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

THREADS = 2  # NumPy's loops run beside one another; more would hold more weights in memory


def ahead(jobs: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """Yields what the jobs return, in their order; a few are worked on ahead.

    Raises:
        Exception: what a job raises, where its result would come.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) > THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
