import json
from pathlib import Path

import pytest

from models.scenes import STYLES
from runtime.errors import BrushletError
from trainer.config import make_config
from trainer.presets import PICTURES, PRESETS, draw_dataset, preset


def test_every_drawn_style_can_be_trained(tmp_path: Path) -> None:
    assert set(PRESETS) == set(STYLES)
    for name in PRESETS:
        out = tmp_path / f"{name}.safetensors"
        config = make_config({"name": name, "data": tmp_path, "out": out, **preset(name)})
        assert config.trigger_words == f"{name} style"
        assert config.title
        assert config.description


def test_a_style_of_ones_own_has_none() -> None:
    assert preset("watercolour") == {}


def test_what_was_drawn_before_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "gothic"
    folder.mkdir()
    (folder / "old.png").write_bytes(b"")
    assert draw_dataset("gothic", folder) == folder
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    named = {json.loads(line)["file_name"] for line in lines}
    assert len(named) == PICTURES
    assert {path.name for path in folder.iterdir()} == named | {"metadata.jsonl"}


def test_only_embedded_styles_are_drawn(tmp_path: Path) -> None:
    with pytest.raises(BrushletError, match=r"miyazaki, gothic, cyberpunk.*--data FOLDER"):
        draw_dataset("watercolour", tmp_path / "new")
    assert not (tmp_path / "new").exists()
