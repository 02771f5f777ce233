from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import BadFile, BrushletError
from runtime.files import write_whole
from runtime.writing import require_writable, writing


def test_a_full_disk_names_the_file_and_what_to_do(small_disk: Path) -> None:
    path = small_disk / "new" / "picture.png"
    with pytest.raises(BrushletError) as caught, writing(path, "free some space"):
        write_whole(path, bytes(2 << 20))
    expected = f"{path}: cannot be written (No space left on device) - free some space"
    assert str(caught.value) == expected
    assert list(path.parent.iterdir()) == []


def test_what_is_written_in_rust_is_told_too(small_disk: Path) -> None:
    path = small_disk / "model.safetensors"
    with pytest.raises(BrushletError, match="No space left"), writing(path, "free some space"):
        save_file({"weight": torch.zeros(1 << 20)}, path)


def test_a_read_only_disk_is_told_before_the_work(read_only_disk: Path) -> None:
    path = read_only_disk / "picture.png"
    with pytest.raises(BrushletError, match=r"picture\.png: cannot be written \(Read-only"):
        require_writable(path, "give another file")


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrushletError, match="is a file where a folder is needed - choose"):
        require_writable(tmp_path / "file" / "picture.png", "give another file")


def test_nothing_is_left_where_it_can_be_written(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "picture.png", "")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("error", [ZeroDivisionError("no disk"), BadFile("is empty")])
def test_other_errors_stay_what_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, writing(tmp_path, "free some space"):
        raise error
    assert caught.value is error


def test_pillows_own_error_is_told(tmp_path: Path) -> None:
    """It has no number where Pillow writes to a descriptor itself."""
    with pytest.raises(BrushletError, match="encoder error -2"), writing(tmp_path, ""):
        raise OSError("encoder error -2 when writing image file")
