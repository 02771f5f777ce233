import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from tests.disks import disk as disk
from tests.disks import read_only_disk as read_only_disk
from tests.tiny import tiny_pipeline
from trainer.config import TrainConfig, make_config
from trainer.progress import Stop
from trainer.save import Trained
from trainer.train import train

CAPTIONS = ("my style, a castle, day", "my style, a castle, night", "my style, sea, day")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three pictures with `metadata.jsonl`."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = []
    for index, caption in enumerate(CAPTIONS):
        Image.new("RGB", (80, 64), (90 * index, 200, 40)).save(folder / f"{index}.png")
        lines.append(json.dumps({"file_name": f"{index}.png", "text": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def taesd_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline whose VAE is a TAESD."""
    return tiny_pipeline(tmp_path_factory.mktemp("base") / "taesd", taesd=True)


MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def config_with(pictures: Path, tiny_base: Path, tmp_path: Path) -> MakeConfig:
    """Makes a config for a few quick steps on the tiny base."""

    def make(**changes: object) -> TrainConfig:
        values: dict[str, object] = {
            "name": "mine",
            "data": pictures,
            "base": str(tiny_base),
            "out": tmp_path / "out" / "mine.safetensors",
            "trigger_words": "my style",
            "rank": 4,
            "alpha": 2,
            "steps": 6,
            "batch_size": 2,
            "warmup_steps": 1,
            "precision": "fp32",
        }
        return make_config(values | changes)

    return make


def run(config: TrainConfig, stop: Stop | None = None, *, restart: bool = False) -> Trained:
    return train(config, Console(quiet=True), stop or Stop(), restart=restart)
