"""Several one-threaded workers that share one training, for `torchrun --nproc-per-node 2`.

On a busy machine of few cores two threads in one process wait for each other at every operator:
measured on 2 cores, the backward pass costs three times the CPU time of one thread. Two processes
of one thread each meet only now and then, to average their weights (local SGD, Stich 2018).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist

MEET_EVERY = 8  # steps


def start() -> int:
    """Join the other workers, when `torchrun` started any; returns this worker's rank."""
    torch.set_num_threads(1)
    if "RANK" not in os.environ:
        return 0
    dist.init_process_group("gloo")
    return dist.get_rank()


@torch.no_grad()
def meet(parameters: Sequence[torch.nn.Parameter], *numbers: float) -> list[float]:
    """Replace all weights by their mean over the workers; returns the means of `numbers` too."""
    if not dist.is_initialized():
        return list(numbers)
    flat = torch.cat([*(p.flatten() for p in parameters), torch.tensor(numbers)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    first = 0
    for parameter in parameters:
        parameter.copy_(flat[first : first + parameter.numel()].view_as(parameter))
        first += parameter.numel()
    means: list[float] = flat[first:].tolist()
    return means
