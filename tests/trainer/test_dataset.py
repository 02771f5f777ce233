import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from runtime.errors import BadFile, BrushletError
from tests.trainer.conftest import CAPTIONS
from trainer.dataset import load_pictures, read_dataset


def test_metadata_and_txt_captions_mean_the_same(pictures: Path) -> None:
    from_metadata = read_dataset(pictures)
    (pictures / "metadata.jsonl").unlink()
    for index, caption in enumerate(CAPTIONS):
        (pictures / f"{index}.txt").write_text(caption + "\n")
    assert read_dataset(pictures) == from_metadata
    assert [example.caption for example in from_metadata.examples] == list(CAPTIONS)


def test_tags_are_counted(pictures: Path) -> None:
    frequency = read_dataset(pictures).tag_frequency()
    assert frequency == {"my style": 3, "a castle": 2, "day": 2, "night": 1, "sea": 1}


def test_the_hash_sees_captions_and_pixels(pictures: Path) -> None:
    first = read_dataset(pictures).sha256()
    assert read_dataset(pictures).sha256() == first
    Image.new("RGB", (64, 64), "red").save(pictures / "0.png")
    assert read_dataset(pictures).sha256() != first


def test_pictures_are_square_and_between_minus_one_and_one(pictures: Path) -> None:
    loaded = list(load_pictures(read_dataset(pictures), 32))
    assert [tuple(picture.shape) for picture in loaded] == [(3, 32, 32)] * 3
    assert torch.equal(loaded[0][:, 0, 0], torch.tensor([0, 200, 40]) / 127.5 - 1)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "is not"),
        ('{"file_name": "0.png"}', "is not"),
        ("[]", "is not"),
        ('{"file_name": "0.png", "text": " "}', "caption of '0.png' is empty"),
        ('{"file_name": "9.png", "text": "x"}', "no picture '9.png'"),
        ('{"file_name": "../0.png", "text": "x"}', "no picture '../0.png'"),
    ],
)
def test_a_bad_metadata_line_is_named(pictures: Path, line: str, complaint: str) -> None:
    good = json.dumps({"file_name": "0.png", "text": "x"})
    (pictures / "metadata.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(BadFile, match=complaint) as caught:
        read_dataset(pictures)
    assert caught.value.where.endswith("metadata.jsonl, line 2")
    assert caught.value.todo


@pytest.mark.parametrize("name", ["1.txt", "metadata.jsonl"])
def test_a_text_in_another_encoding_is_named(name: str, pictures: Path) -> None:
    (pictures / "metadata.jsonl").unlink()
    for index in range(3):
        (pictures / f"{index}.txt").write_text("a castle")
    (pictures / name).write_bytes('{"file_name": "1.png", "text": "一座城堡"}'.encode("gbk"))
    with pytest.raises(BadFile, match=r"is not UTF-8 \(byte \d+ is 0x[0-9a-f]{2}\)") as caught:
        read_dataset(pictures)
    assert caught.value.where == str(pictures / name)
    assert "save it as UTF-8" in caught.value.todo


def test_the_mark_that_windows_puts_before_utf_8_is_no_text(pictures: Path) -> None:
    expected = read_dataset(pictures)
    metadata = pictures / "metadata.jsonl"
    metadata.write_text(metadata.read_text(), encoding="utf-8-sig")
    assert read_dataset(pictures) == expected
    metadata.unlink()
    for index, caption in enumerate(CAPTIONS):
        (pictures / f"{index}.txt").write_text(caption, encoding="utf-8-sig")
    assert read_dataset(pictures) == expected


def test_a_picture_without_a_line_is_named(pictures: Path) -> None:
    Image.new("RGB", (8, 8)).save(pictures / "extra.png")
    with pytest.raises(BrushletError, match=r"extra\.png: has no line in metadata\.jsonl"):
        read_dataset(pictures)


@pytest.mark.parametrize(("text", "state"), [(None, "missing"), ("  \n", "empty")])
def test_a_missing_caption_is_named(pictures: Path, text: str | None, state: str) -> None:
    (pictures / "metadata.jsonl").unlink()
    for index in (0, 2):
        (pictures / f"{index}.txt").write_text("x")
    if text is not None:
        (pictures / "1.txt").write_text(text)
    with pytest.raises(BrushletError, match=rf"1\.png: has no caption: 1\.txt is {state}"):
        read_dataset(pictures)


def test_no_pictures_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BrushletError, match="there are no pictures here"):
        read_dataset(tmp_path)
    with pytest.raises(BrushletError, match="there is no such folder"):
        read_dataset(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\nbroken"])
def test_a_picture_that_does_not_open_is_named(pictures: Path, content: bytes) -> None:
    (pictures / "1.png").write_bytes(content)
    with pytest.raises(BadFile, match=r"1\.png: does not open as a picture"):
        list(load_pictures(read_dataset(pictures), 8))


def test_a_truncated_picture_is_named(pictures: Path) -> None:
    whole = (pictures / "2.png").read_bytes()
    (pictures / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFile, match=r"2\.png: does not open"):
        list(load_pictures(read_dataset(pictures), 8))
