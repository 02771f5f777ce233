"""A folder of captioned pictures, in the forms that kohya and diffusers use."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from runtime.errors import BadFile, BrushletError
from runtime.tensors import read_bytes

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class Example:
    """A picture and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Dataset:
    """The examples of `folder`, in the order of their names."""

    folder: Path
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.examples)

    def tag_frequency(self) -> dict[str, int]:
        """How often each comma-separated tag occurs, as `ss_tag_frequency` wants it."""
        counts: dict[str, int] = {}
        for example in self.examples:
            for tag in filter(None, (tag.strip() for tag in example.caption.split(","))):
                counts[tag] = counts.get(tag, 0) + 1
        return counts

    def sha256(self) -> str:
        """Hash over every file name, caption and picture."""
        digest = hashlib.sha256()
        for example in self.examples:
            picture = hashlib.sha256(example.path.read_bytes()).hexdigest()
            digest.update(json.dumps([example.path.name, example.caption, picture]).encode())
        return digest.hexdigest()


def read_dataset(folder: Path) -> Dataset:
    """Finds the pictures of `folder` and their captions.

    Captions come from `metadata.jsonl` (`{"file_name": ..., "text": ...}` a line, Hugging Face
    "imagefolder") or, without that file, from a `.txt` file beside each picture (kohya), in UTF-8.

    Raises:
        BadFile: a file is not UTF-8, or a line not as above; the line is named.
        BrushletError: a caption is missing, or there are no pictures.
    """
    if not folder.is_dir():
        raise BrushletError("there is no such folder", where=str(folder))
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    metadata = folder / METADATA
    if metadata.is_file():
        captions = _read_metadata(metadata)
        pictures = sorted({*pictures, *captions})
    else:
        captions = {path: _read_caption(path) for path in pictures}
    if not pictures:
        raise BrushletError(
            "there are no pictures here",
            where=str(folder),
            todo=f"put {', '.join(sorted(SUFFIXES))} files into the folder",
        )
    for path in pictures:
        if path not in captions:
            raise BrushletError(
                f"has no line in {METADATA}", where=str(path), todo="add one, or move it away"
            )
    return Dataset(folder, tuple(Example(path, captions[path]) for path in pictures))


def _read_metadata(path: Path) -> dict[Path, str]:
    captions: dict[Path, str] = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
            file_name, text = row["file_name"], row["text"]
        except (json.JSONDecodeError, KeyError, TypeError):
            todo = 'write for example {"file_name": "1.png", "text": "a castle, night"}'
            what = 'is not {"file_name": ..., "text": ...}'
            raise BadFile(what, where=where, todo=todo) from None
        if not isinstance(text, str) or not text.strip():
            todo = 'write what it shows as its "text"'
            raise BadFile(f"the caption of {file_name!r} is empty", where=where, todo=todo)
        picture = path.parent / str(file_name)
        if picture.parent.resolve() != path.parent.resolve() or not picture.is_file():
            todo = f"put it beside {METADATA}, or take the line out"
            what = f"there is no picture {file_name!r} in the folder"
            raise BadFile(what, where=where, todo=todo)
        captions[picture] = text.strip()
    return captions


def _read_caption(picture: Path) -> str:
    path = picture.with_suffix(".txt")
    caption = _read_text(path).strip() if path.is_file() else ""
    if not caption:
        raise BrushletError(
            f"has no caption: {path.name} is {'empty' if path.is_file() else 'missing'}",
            where=str(picture),
            todo=f"write what it shows into {path.name}, or add a {METADATA}",
        )
    return caption


def _read_text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")  # Windows' editors begin UTF-8 with a mark
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start} is {error.object[error.start]:#04x})"
        todo = "save it as UTF-8 in a text editor"
        raise BadFile(what, where=str(path), todo=todo) from None


def load_pictures(dataset: Dataset, size: int) -> Iterator[torch.Tensor]:
    """Each picture as float32 [3, size, size] in -1..1, cut square around its middle.

    BadFile names a picture that does not open.
    """
    for example in dataset.examples:
        try:
            with Image.open(example.path) as opened:
                upright = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise BadFile(
                f"does not open as a picture: {error}",
                where=str(example.path),
                todo="replace it, or take it out of the folder",
            ) from None
        square = ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.array(square, dtype=np.float32))
        yield pixels.permute(2, 0, 1) / 127.5 - 1
