"""What a LoRA's makers say about it: a sidecar in the A1111 form, else the file's own metadata.

The sidecar `<stem>.json` (AUTOMATIC1111 stable-diffusion-webui, `extensions-builtin/Lora`) has
`description`, `activation text`, `preferred weight`, `notes`. The file's metadata are kohya's
`ss_*` and Stability's `modelspec.*` (https://github.com/Stability-AI/ModelSpec).
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.errors import BadFile
from runtime.lora import LoraFile
from runtime.manifest import Strength

_PICTURES = (".png", ".webp", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Details:
    """A style as it will be shown."""

    name: str
    title: str
    trigger_words: list[str]
    strength: Strength
    description: str
    license: str
    picture: Path | None

    def renamed(self, name: str, title: str) -> "Details":
        """The same style under another name."""
        return replace(self, name=name, title=title)


def read_details(lora: LoraFile, name: str | None = None, strength: float | None = None) -> Details:
    """The details of a LoRA file. `name` and `strength` (the slider's start) win where given.

    Raises:
        BadFile: the sidecar is not JSON of that form.
    """
    sidecar = _read_sidecar(lora.path.with_suffix(".json"))
    metadata = lora.metadata
    title = metadata.get("modelspec.title") or lora.path.stem
    triggers = sidecar.get("activation text") or metadata.get("modelspec.trigger_phrase") or ""
    preferred = strength if strength is not None else sidecar.get("preferred weight") or None
    default = Strength() if preferred is None else Strength(default=float(preferred))
    pictures = (lora.path.with_suffix(suffix) for suffix in _PICTURES)
    return Details(
        name=name or slug(lora.path.stem),
        title=title,
        trigger_words=[word.strip() for word in str(triggers).split(",") if word.strip()],
        strength=Strength(
            default=default.default,
            min=min(default.min, default.default),
            max=max(default.max, default.default),
        ),
        description=str(sidecar.get("description") or metadata.get("modelspec.description") or ""),
        license=metadata.get("modelspec.license", ""),
        picture=next((path for path in pictures if path.is_file()), None),
    )


def slug(text: str) -> str:
    """A style name: lower-case letters, digits, `-` and `_`, starting with a letter or digit."""
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_") or "style"


def _read_sidecar(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    todo = "correct it, or move it away from the LoRA"
    try:
        sidecar = json.loads(path.read_bytes())
    except ValueError:
        raise BadFile("is not JSON", where=str(path), todo=todo) from None
    if not isinstance(sidecar, dict):
        raise BadFile("is not a JSON object", where=str(path), todo=todo)
    weight = sidecar.get("preferred weight")
    if weight is not None and not isinstance(weight, int | float):
        raise BadFile("field `preferred weight` is no number", where=str(path), todo=todo)
    return sidecar
