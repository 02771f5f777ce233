"""Several one-threaded workers that share one training, for `torchrun --nproc-per-node 2`.

On a busy machine of few cores two threads in one process wait for each other at every operator:
measured on 2 cores, the backward pass costs three times the CPU time of one thread. Two processes
of one thread each meet once a step, when they average their gradients.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist


def start() -> int:
    """Join the other workers, when `torchrun` started any; returns this worker's rank."""
    torch.set_num_threads(1)
    if "RANK" not in os.environ:
        return 0
    dist.init_process_group("gloo")
    return dist.get_rank()


def average_gradients(parameters: Iterable[torch.nn.Parameter], *numbers: float) -> list[float]:
    """Replace all gradients by their mean over the workers; returns the means of `numbers` too."""
    if not dist.is_initialized():
        return list(numbers)
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor(numbers)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start_of = 0
    for gradient in gradients:
        gradient.copy_(flat[start_of : start_of + gradient.numel()].view_as(gradient))
        start_of += gradient.numel()
    means: list[float] = flat[start_of:].tolist()
    return means
