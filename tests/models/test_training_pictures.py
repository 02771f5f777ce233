"""Training pictures lie in the order of their scenes, whatever draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.scenes import STYLES, draw
from models.training import pictures
from models.training.pictures import FIRST_SEEDS, HELD_OUT_SEED, load, scene_of


@pytest.mark.parametrize("style", ["plain", "gothic"])
def test_picture_i_shows_scene_i(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "WORK", tmp_path / "work")
    monkeypatch.setattr("sys.argv", ["pictures", "--style", style, "--count", "3"])
    pictures.main()
    found = load(style)
    assert (found.shape, found.dtype) == ((3, 128, 128, 3), np.uint8)
    for index in range(3):
        expected = draw(scene_of(style, index), None if style == "plain" else style)
        assert (found[index] == expected).all()
    assert [path.name for path in (tmp_path / "work").iterdir()] == [f"pictures-{style}.npy"]


def test_an_unfinished_file_is_not_taken_for_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "WORK", tmp_path)
    (tmp_path / "pictures-plain.part").write_bytes(b"half")
    with pytest.raises(FileNotFoundError):
        load("plain")


def test_styles_share_no_scene_and_none_is_held_out() -> None:
    assert set(FIRST_SEEDS) == {"plain", *STYLES}
    first = sorted(FIRST_SEEDS.values())
    assert min(np.diff(first)) >= 100_000
    assert first[-1] + 100_000 < HELD_OUT_SEED
    assert scene_of("plain", 4) == scene_of("plain", 4) != scene_of("gothic", 4)
