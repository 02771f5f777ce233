"""What every training here shares: a budget in minutes, EMA weights, resume, a progress bar.

The budget is wall-clock time, not steps: the machine is often busy with other work, and a learning
rate that follows the clock always ends its cosine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.training.workers import MEET_EVERY, meet


class Ema:
    """A running mean of a module's weights, updated every MEET_EVERY steps; its memory grows."""

    def __init__(self, module: torch.nn.Module, decay: float = 0.99) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        """Move the mean towards the module's present weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        names = list(self.weights)
        live = dict(module.named_parameters())
        torch._foreach_lerp_(
            [self.weights[name] for name in names], [live[name].data for name in names], 1 - decay
        )

    @torch.no_grad()
    def copy_to(self, module: torch.nn.Module) -> None:
        """Overwrite the module's weights by the mean."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.weights[name])

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"steps": self.steps, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.steps, self.weights = state["steps"], state["weights"]


class Budget:
    """Counts steps and minutes, sets the learning rate, shows the bar.

    The rate warms up over `warmup` steps, then follows a cosine over `minutes` down to 2 %.
    """

    def __init__(self, title: str, minutes: float, rate: float, warmup: int = 100) -> None:
        self.title, self.minutes, self.rate, self.warmup = title, minutes, rate, warmup
        self.step = 0
        self.spent = 0.0
        self.loss = math.nan

    @property
    def share(self) -> float:
        """The share of the budget that is spent, 0..1."""
        return min(1.0, self.spent / (self.minutes * 60))

    def learning_rate(self) -> float:
        """The rate for the present step."""
        cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.share))
        return self.rate * cosine * min(1.0, (self.step + 1) / self.warmup)

    def steps(self, optimizer: torch.optim.Optimizer) -> Iterator[int]:
        """Yield step numbers until the minutes are spent, setting the optimizer's rate."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns) as progress:
            task = progress.add_task(self.title, total=1.0, text="")
            # Workers meet every few steps; only there may one of them end.
            while self.share < 1 or self.step % MEET_EVERY:
                start = time.monotonic()
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate() * group.get("rate_scale", 1.0)
                yield self.step
                self.spent += time.monotonic() - start
                self.step += 1
                text = f"step {self.step} loss {self.loss:.4f}"
                progress.update(task, completed=self.share, text=text)

    def meets(self) -> bool:
        """Whether the workers average their weights after this step."""
        return self.step % MEET_EVERY == MEET_EVERY - 1

    def agree(self, loss: float, spent: float) -> None:
        """Take over the workers' mean loss and mean time, so that all end at the same step."""
        self.spent = spent
        self.loss = loss if math.isnan(self.loss) else 0.9 * self.loss + 0.1 * loss


def save_whole(path: Path, state: dict[str, Any]) -> None:
    """Write tensors to a file, whole or not at all."""
    unfinished = path.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.replace(path)


class Run:
    """One training of one module; a second start goes on from its checkpoint.

    Args:
        title: for the progress bar.
        module: what is trained; its frozen parameters stay as they are.
        checkpoint: the file to go on from, and to write.
        minutes: the budget.
        rate: the highest learning rate.
        warmup: steps until it is reached.
        seed: of the data and the noise; each worker and each start draws others.
        rank: the worker's, from `workers.start`.
        adam: further settings of AdamW.
    """

    def __init__(
        self,
        title: str,
        module: torch.nn.Module,
        checkpoint: Path,
        *,
        minutes: float,
        rate: float,
        warmup: int = 100,
        seed: int = 0,
        rank: int = 0,
        **adam: Any,
    ) -> None:
        self.module, self.checkpoint = module, checkpoint
        self.trained = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, rate, fused=True, **adam)
        self.budget = Budget(title, minutes, rate, warmup)
        self.ema = Ema(module)
        if checkpoint.exists():
            saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
            module.load_state_dict(saved["module"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.ema.load_state_dict(saved["ema"])
            self.budget.step, self.budget.spent = saved["step"], saved["spent"]
        self.rng = np.random.default_rng((seed, self.budget.step, rank))
        torch.manual_seed((seed + 1) * 1000 + self.budget.step * 10 + rank)

    def steps(self) -> Iterator[int]:
        """Yield step numbers until the minutes are spent; each wants one call of `learn`."""
        return self.budget.steps(self.optimizer)

    def learn(self, loss: torch.Tensor) -> None:
        """One step down the gradient of a loss, and now and then a meeting of the workers."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        if self.budget.meets():
            self.budget.agree(*meet(self.trained, loss.item(), self.budget.spent))
            self.ema.update(self.module)

    def save(self) -> None:
        """Write the checkpoint."""
        parts: dict[str, Any] = {
            "module": self.module,
            "optimizer": self.optimizer,
            "ema": self.ema,
        }
        state = {name: part.state_dict() for name, part in parts.items()}
        counts = {"step": self.budget.step + 1, "spent": self.budget.spent}
        save_whole(self.checkpoint, state | counts)

    def __str__(self) -> str:
        spent = self.budget.spent / 60
        return f"step {self.budget.step + 1} {spent:.1f} min loss {self.budget.loss:.4f}"
