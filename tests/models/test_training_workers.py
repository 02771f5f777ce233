"""Workers end up with the same weights; one alone keeps its own."""

from __future__ import annotations

import os
import socket
from multiprocessing import get_context

import pytest
import torch

from models.training.workers import meet, start


def test_one_alone_keeps_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert start() == 0
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    assert meet([parameter], 0.5, 7.0) == [0.5, 7.0]
    assert parameter.tolist() == [1, 2]


def work(rank: int, port: int) -> tuple[int, list[float], list[list[float]]]:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= place | {"RANK": str(rank)}
    started = start()
    parameters = [
        torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]) * (1 + rank)),
        torch.nn.Parameter(torch.full((3,), 10.0 * rank)),
    ]
    numbers = meet(parameters, 8.0 * rank, 3.0)
    torch.distributed.destroy_process_group()
    return started, numbers, [parameter.tolist() for parameter in parameters]


def test_two_meet_in_the_middle() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forked, as pictures are drawn: a process of its own would import torch for seconds.
    with get_context("fork").Pool(2) as pool:
        ends = pool.starmap_async(work, [(0, port), (1, port)]).get(timeout=60)
    middle = [[[1.5, 3.0], [4.5, 6.0]], [5.0, 5.0, 5.0]]
    assert ends == [(0, [4.0, 3.0], middle), (1, [4.0, 3.0], middle)]
