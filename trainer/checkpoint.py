"""The state of an unfinished training, in one file that lies beside the result."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from runtime.errors import BadFile, BrushletError
from runtime.tensors import read_tensors, write_tensors
from runtime.writing import writing

Parameters = dict[str, torch.nn.Parameter]
MOMENTS = ("exp_avg", "exp_avg_sq")
_NO_PLACE = (
    "free some space or see to the permissions of its folder; the same command then goes on after"
    " the state that was saved last, if any"
)


@dataclass(frozen=True)
class Checkpoint:
    """Adapters and AdamW moments after some steps.

    `fingerprint` (plain JSON values) holds all that must be the same for the training to go on.
    """

    path: Path
    fingerprint: dict[str, object]

    def save(self, step: int, loss: float, parameters: Parameters, adam: torch.optim.AdamW) -> None:
        """Writes the state after `step` steps, replacing an older one in one move.

        BrushletError when it cannot be written; an older one is then as it was.
        """
        tensors = {}
        for name, parameter in parameters.items():
            tensors[f"adapter.{name}"] = parameter.detach().cpu().numpy()
            for moment in MOMENTS:
                tensors[f"{moment}.{name}"] = adam.state[parameter][moment].cpu().numpy()
        state = {"step": step, "loss": loss, "fingerprint": self.fingerprint}
        with writing(self.path, _NO_PLACE):
            write_tensors(self.path, tensors, {"state": json.dumps(state)})

    def resume(self, parameters: Parameters, adam: torch.optim.AdamW) -> tuple[int, float]:
        """Fills `parameters` and `adam`; returns the steps already done and the mean loss.

        (0, 0.0) when there is no checkpoint. BrushletError when it belongs to other settings,
        BadFile when it is damaged.
        """
        if not self.path.exists():
            return 0, 0.0
        arrays, metadata = read_tensors(self.path)
        wanted = {f"{part}.{name}" for part in ("adapter", *MOMENTS) for name in parameters}
        if "state" not in metadata or set(arrays) != wanted:
            raise BadFile("is no checkpoint of this training", where=str(self.path), todo=RESTART)
        state = json.loads(metadata["state"])
        self._require_same(state["fingerprint"])
        tensors = {key: torch.from_numpy(array.copy()) for key, array in arrays.items()}
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[f"adapter.{name}"])
                adam.state[parameter] = {
                    "step": torch.tensor(float(state["step"]), device=parameter.device),
                    **{m: tensors[f"{m}.{name}"].to(parameter.device) for m in MOMENTS},
                }
        return int(state["step"]), float(state["loss"])

    def _require_same(self, before: dict[str, object]) -> None:
        changes = [
            f"{key} was {before.get(key)} and is {value}"
            for key, value in self.fingerprint.items()
            if before.get(key) != value
        ]
        if changes:
            raise BrushletError(
                f"an interrupted training that began differently lies here: {'; '.join(changes)}",
                where=str(self.path),
                todo=f"give the former settings to go on with it, or {RESTART}",
            )

    def delete(self) -> None:
        """Removes the file, if there is one."""
        with writing(self.path, "remove it yourself"):
            self.path.unlink(missing_ok=True)


RESTART = "pass --restart to begin again"
