"""Finds the base model that a person names: a folder, a single file, or a Hugging Face id."""

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from exporter.interrupts import uninterrupted
from exporter.locks import locked
from exporter.progress import Step, silent
from exporter.staging import told
from runtime.digests import known_sha256
from runtime.errors import BadFile, BrushletError
from runtime.files import cache_folder

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
_PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
# What `from_pretrained` reads; no pickles, and not the same weights twice (`model.fp16...`).
_WEIGHTS = "model", "model-*", "diffusion_pytorch_model", "diffusion_pytorch_model-*"
_WANTED = ["*.json", "*.txt", *(f"*/{name}.safetensors" for name in _WEIGHTS)]

_GUIDANCE_EMBEDDING = "model.diffusion_model.time_embed.cond_proj.weight"
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
    path = Path(source).expanduser()
    if path.is_dir():
        embedded = path.resolve() == _EMBEDDED[0]
        return Base(path, _EMBEDDED[1] if embedded else path.resolve().name)
    if path.is_file() and path.suffix.lower() in _PICKLES:
        raise BadFile(
            "is a pickle, which can run any program when it is opened",
            where=source,
            todo="get the .safetensors version of this checkpoint, or convert it yourself",
        )
    if path.is_file():
        return Base(_converted(path, config, step), path.stem)
    if _HUB_ID.fullmatch(source):
        with step("asking the hub", 1):
            return Base(_downloaded(source), source.partition("/")[2])
    raise BrushletError(
        "there is no such base model",
        where=source,
        todo="give a diffusers folder, a .safetensors checkpoint or a Hugging Face id owner/name",
    )


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED))
    except LocalEntryNotFoundError as error:
        todo = "connect to the internet (and unset HF_HUB_OFFLINE), or give a folder"
        raise BrushletError("is not in the cache of the hub", where=name, todo=todo) from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        todo = "check the name, and for a private or gated model run `hf auth login`"
        raise BrushletError(f"cannot be downloaded ({reason})", where=name, todo=todo) from error


def _converted(path: Path, config: Path | None, step: Step) -> Path:
    with step("checksum of the base", 1):
        folder = cache_folder() / "bases" / known_sha256(path)
    if config:
        folder = folder.with_name(f"{folder.name}-{_identity(config)}")
    known = [folder] if config else folder.parent.glob(f"{folder.name}*")
    if converted := [place for place in known if place.is_dir()]:
        return max(converted, key=lambda place: place.stat().st_mtime_ns)
    dtypes = _dtypes(path)
    if _GUIDANCE_EMBEDDING in dtypes:
        raise BadFile(
            "is an LCM that is told the guidance, which single files of diffusers leave out",
            where=str(path),
            todo="give its diffusers folder or Hugging Face id",
        )
    todo = "free some space there, or set XDG_CACHE_HOME to a folder on another disk"
    with told(folder.parent, todo):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Another export may be converting it just now, which is worth waiting for.
        with locked(folder.with_name(f".{folder.name}.lock"), wait=True):
            if not folder.is_dir():
                with step("converting the base", 1):
                    _convert(path, config, folder, set(dtypes.values()))
    return folder


def _convert(path: Path, config: Path | None, folder: Path, dtypes: set[str]) -> None:
    # Imported here because it imports torch, which a second export does without.
    import torch
    from diffusers import StableDiffusionPipeline

    from exporter.pipeline import loading

    todo = (
        "it has to be a whole Stable Diffusion 1.x or 2.x checkpoint; offline, or where diffusers"
        " takes it for another kind, name a diffusers folder of its kind with --base-config"
    )
    with loading(path, todo):
        pipeline = StableDiffusionPipeline.from_single_file(
            str(path),
            torch_dtype=torch.float16 if dtypes <= {"F16", "I64"} else torch.float32,
            config=None if config is None else str(config),
            local_files_only=config is not None,
            safety_checker=None,
            requires_safety_checker=False,
        )
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        pipeline.save_pretrained(unfinished, safe_serialization=True)
        unfinished.rename(folder)
    finally:
        with uninterrupted():
            shutil.rmtree(unfinished, ignore_errors=True)


def _identity(config: Path) -> str:
    """What tells one configuration from another: a hash of its small files."""
    digest = hashlib.sha256()
    for path in sorted([*config.rglob("*.json"), *config.rglob("*.txt")]):
        digest.update(f"{path.relative_to(config)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _dtypes(path: Path) -> dict[str, str]:
    """Tensor name -> dtype of a checkpoint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as tensors:
            return {key: tensors.get_slice(key).get_dtype() for key in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        todo = "download it again; it has to be a whole Stable Diffusion 1.x or 2.x checkpoint"
        raise BadFile(f"is no safetensors file ({error})", where=str(path), todo=todo) from None
