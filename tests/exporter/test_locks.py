import threading
from pathlib import Path

import pytest

from exporter.locks import locked


def test_one_holds_it_and_the_file_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, wait=False):
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        assert path.exists()  # whoever failed to get it leaves it to its holder
    assert not path.exists()
    with locked(path, wait=False):
        pass


def test_those_who_wait_come_one_after_another(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "lock", 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with locked(path, wait=True):
                inside += 1
                most = max(most, inside)
                inside -= 1

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert (most, inside) == (1, 0)
    assert not path.exists()


def test_an_error_lets_it_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), locked(path, wait=True):
        _ = 1 / 0
    assert not path.exists()
