import threading
from collections.abc import Callable

import pytest

from exporter.ahead import ahead


def test_results_come_in_the_order_of_the_jobs_and_few_are_held() -> None:
    done: list[int] = []

    def job(number: int) -> Callable[[], int]:
        def work() -> int:
            done.append(number)
            return number

        return work

    taken = []
    for result in ahead(job(number) for number in range(20)):
        assert len(done) - len(taken) <= 4
        taken.append(result)
    assert taken == list(range(20))


def test_jobs_run_beside_one_another() -> None:
    met = threading.Barrier(2, timeout=30)
    assert len(list(ahead([met.wait, met.wait]))) == 2


def test_an_error_comes_where_its_result_would() -> None:
    def fail() -> int:
        raise ValueError("no")

    results = ahead([lambda: 1, fail, lambda: 3])
    assert next(results) == 1
    with pytest.raises(ValueError, match="no"):
        next(results)
