"""What a person can name as a base model, judged without loading it: no pickle is ever opened.

Exporter and trainer share it, so that both find the same folder, and with it the same hash.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from runtime.digests import UNUSED, known_sha256
from runtime.errors import BadFile, BrushletError
from runtime.files import cache_folder

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
_PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
# What `from_pretrained` reads; no pickles, and not the same weights twice (`model.fp16...`).
_WEIGHTS = "model", "model-*", "diffusion_pytorch_model", "diffusion_pytorch_model-*"
_WANTED = ["*.json", "*.txt", *(f"*/{name}.safetensors" for name in _WEIGHTS)]
_GUIDANCE_EMBEDDING = "model.diffusion_model.time_embed.cond_proj.weight"

CONVERSION_TODO = (
    "it has to be a whole Stable Diffusion 1.x or 2.x checkpoint; offline, or where diffusers"
    " takes it for another kind, name a diffusers folder of its kind with --base-config"
)
CACHE_TODO = "free some space there, or set XDG_CACHE_HOME to a folder on another disk"


def local_base(source: str) -> Path | None:
    """The folder or `.safetensors` checkpoint that `source` names; None for a Hugging Face id.

    Raises:
        BadFile: a file that diffusers would open as a pickle.
        BrushletError: nothing is there.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        _refuse_pickle(path)
        return path
    if _HUB_ID.fullmatch(source):
        return None
    raise BrushletError(
        "there is no such base model",
        where=source,
        todo="give a diffusers folder, a .safetensors checkpoint or a Hugging Face id owner/name",
    )


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in _PICKLES:
        raise BadFile(
            "is a pickle, which can run any program when it is opened",
            where=str(path),
            todo="get the .safetensors version of this checkpoint, or convert it yourself",
        )
    if path.suffix != ".safetensors":  # diffusers goes by the name, and opens all others as pickles
        raise BadFile(
            "is not called .safetensors",
            where=str(path),
            todo="give a .safetensors checkpoint; if it is one, name it so",
        )


def downloaded(name: str) -> Path:
    """The folder of a Hugging Face id, from the hub or its cache; without pickles.

    Raises:
        BrushletError: the hub does not have it, does not give it, or cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        unwanted = [f"{part}/*" for part in UNUSED]  # a safety checker is 1.2 GB
        return Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=unwanted))
    except LocalEntryNotFoundError as error:
        todo = "connect to the internet (and unset HF_HUB_OFFLINE), or give a folder"
        raise BrushletError("is not in the cache of the hub", where=name, todo=todo) from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        todo = "check the name, and for a private or gated model run `hf auth login`"
        raise BrushletError(f"cannot be downloaded ({reason})", where=name, todo=todo) from error


def conversion(path: Path, config: Path | None) -> Path:
    """The folder in the cache that a single file is converted into, or was: then it is there.

    A file is converted once per configuration; without one, the last conversion is the one.

    Raises:
        BadFile: the configuration is no folder in the diffusers layout.
    """
    folder = cache_folder() / "bases" / known_sha256(path)
    if config:
        folder = folder.with_name(f"{folder.name}-{_identity(config)}")
    known = [folder] if config else folder.parent.glob(f"{folder.name}*")
    converted = [place for place in known if place.is_dir()]
    return max(converted, key=lambda place: place.stat().st_mtime_ns, default=folder)


def settle(unfinished: Path, folder: Path) -> None:
    """Gives a finished conversion its place, unless another program was quicker."""
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _identity(config: Path) -> str:
    """What tells one configuration from another: a hash of its small files."""
    if not (config / "model_index.json").is_file():
        todo = "give a folder with a model_index.json and the configs beside it"
        raise BadFile("is no folder in the diffusers layout", where=str(config), todo=todo)
    digest = hashlib.sha256()
    for path in sorted([*config.rglob("*.json"), *config.rglob("*.txt")]):
        digest.update(f"{path.relative_to(config)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Header:
    """What a single file says about itself before its weights.

    `half`: it holds fp16 alone, so that its conversion does too. `told_guidance`: it is an LCM
    whose UNet takes the guidance, which diffusers leaves out of what it makes of single files.
    """

    half: bool
    told_guidance: bool


def read_header(path: Path) -> Header:
    """The header of a `.safetensors` checkpoint; BadFile when it is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as tensors:
            names = list(tensors.keys())
            dtypes = {tensors.get_slice(name).get_dtype() for name in names}
    except SafetensorError as error:
        todo = "download it again; it has to be a whole Stable Diffusion 1.x or 2.x checkpoint"
        raise BadFile(f"is no safetensors file ({error})", where=str(path), todo=todo) from None
    return Header(half=dtypes <= {"F16", "I64"}, told_guidance=_GUIDANCE_EMBEDDING in names)
