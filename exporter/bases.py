"""Finds the base model that a person names: a folder, a single file, or a Hugging Face id."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from exporter.interrupts import uninterrupted
from exporter.locks import locked
from exporter.progress import Step, silent
from exporter.staging import told
from runtime.bases import (
    CACHE_TODO,
    CONVERSION_TODO,
    conversion,
    downloaded,
    local_base,
    read_header,
    settle,
)
from runtime.errors import BadFile

_EMBEDDED = Path(__file__).parents[1] / "models" / "base", "brushlet"  # folder, name


@dataclass(frozen=True)
class Base:
    """A pipeline's folder in the diffusers layout, and what people call it."""

    folder: Path
    name: str


def find_base(source: str, config: Path | None = None, step: Step = silent) -> Base:
    """The base model for what the person gave.

    A single file is converted once per configuration, into the cache, and found there afterwards.

    Args:
        source: a folder, a `.safetensors` checkpoint, or a Hugging Face id `owner/name`.
        config: a diffusers folder with the configuration and tokenizer of a single file; by
            default the one it was converted with last, or what diffusers finds on the hub by the
            file's keys.
        step: shows the progress of a conversion or a download.

    Raises:
        BadFile: a pickle, or a file that diffusers cannot convert.
        BrushletError: nothing is there.
    """
    path = local_base(source)
    if path is None:
        with step("asking the hub", 1):
            return Base(downloaded(source), source.partition("/")[2])
    if path.is_dir():
        embedded = path.resolve() == _EMBEDDED[0]
        return Base(path, _EMBEDDED[1] if embedded else path.resolve().name)
    return Base(_converted(path, config, step), path.stem)


def _converted(path: Path, config: Path | None, step: Step) -> Path:
    with step("checksum of the base", 1):
        folder = conversion(path, config)
    if folder.is_dir():
        return folder
    header = read_header(path)
    if header.told_guidance:
        raise BadFile(
            "is an LCM that is told the guidance, which single files of diffusers leave out",
            where=str(path),
            todo="give its diffusers folder or Hugging Face id",
        )
    with told(folder.parent, CACHE_TODO):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Another export may be converting it just now, which is worth waiting for.
        with locked(folder.with_name(f".{folder.name}.lock"), wait=True):
            if not folder.is_dir():
                with step("converting the base", 1):
                    _convert(path, config, folder, header.half)
    return folder


def _convert(path: Path, config: Path | None, folder: Path, half: bool) -> None:
    # Imported here because it imports torch, which a second export does without.
    import torch
    from diffusers import StableDiffusionPipeline

    from exporter.pipeline import loading

    with loading(path, CONVERSION_TODO):
        pipeline = StableDiffusionPipeline.from_single_file(
            str(path),
            torch_dtype=torch.float16 if half else torch.float32,
            config=None if config is None else str(config),
            local_files_only=config is not None,
            safety_checker=None,
            requires_safety_checker=False,
        )
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        pipeline.save_pretrained(unfinished, safe_serialization=True)
        settle(unfinished, folder)
    finally:
        with uninterrupted():
            shutil.rmtree(unfinished, ignore_errors=True)
