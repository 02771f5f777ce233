"""The judge: one convolutional trunk, one linear head for each question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from models.scenes.scene import GROUNDS, OBJECTS, STYLES, TIMES

HEADS: dict[str, tuple[str, ...]] = {
    "time": TIMES,
    "ground": GROUNDS,
    "object": OBJECTS,
    "style": ("plain", *STYLES),
}
WEIGHTS = Path(__file__).with_name("judge.safetensors")
WIDTHS = (24, 48, 64, 96, 128)


class Judge(nn.Module):
    """Pictures, float [batch, 3, 128, 128] in -1..1, to logits for each head of HEADS."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in WIDTHS:
            layers += [
                nn.Conv2d(before, width, 3, stride=2, padding=1),
                nn.GroupNorm(8, width),
                nn.SiLU(),
            ]
            before = width
        self.trunk = nn.Sequential(*layers)
        # The last map is 4x4; its cells are kept apart, for places matter (sky above ground).
        self.heads = nn.ModuleDict(
            {name: nn.Linear(before * 16, len(classes)) for name, classes in HEADS.items()}
        )

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits [batch, classes] by head."""
        features = self.trunk(pictures).flatten(1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def probabilities(
        self, pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> dict[str, NDArray[np.float32]]:
        """Class probabilities [batch, classes] by head for uint8 pictures [batch, 128, 128, 3]."""
        batch = torch.from_numpy(np.ascontiguousarray(np.stack(list(pictures))))
        logits = self(batch.permute(0, 3, 1, 2).float() / 127.5 - 1)
        return {name: values.softmax(-1).numpy() for name, values in logits.items()}

    def judge(
        self, pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    ) -> dict[str, list[str]]:
        """The most likely class by head for uint8 pictures [batch, 128, 128, 3]."""
        return {
            name: [HEADS[name][index] for index in values.argmax(-1)]
            for name, values in self.probabilities(pictures).items()
        }


def load_judge(path: Path = WEIGHTS) -> Judge:
    """The trained judge; its weights are stored in fp16 and computed in fp32."""
    judge = Judge()
    judge.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return judge.eval()
