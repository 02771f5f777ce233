"""How a style is called and shown: from sidecars, else from the LoRA files' own metadata.

The metadata are kohya's `ss_*` and Stability's `modelspec.*`
(https://github.com/Stability-AI/ModelSpec).
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.sidecar import examples_beside, picture_beside, read_sidecar
from runtime.errors import BrushletError
from runtime.lora import LoraFile
from runtime.manifest import BASE_VARIANT, Strength, Template

_FLOAT32 = 3.4028234e38  # the largest
MAX_NAME = 80  # characters; file names hold 255 bytes, and a graph's says more than its style


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
    negative_prompt: str = ""
    examples: list[Path] = field(default_factory=list)
    templates: list[Template] = field(default_factory=list)

    def renamed(self, name: str, title: str) -> "Details":
        """The same style under another name."""
        return replace(self, name=name, title=title)

    def starting_at(self, strength: float) -> "Details":
        """The same style, its slider starting at `strength` and reaching it."""
        return replace(self, strength=_reaching(strength))


def read_details(lora: LoraFile, name: str | None = None, strength: float | None = None) -> Details:
    """The details of a LoRA file. `name` and `strength` (the slider's start) win where given.

    Raises:
        BadFile: the sidecar is not JSON of that form.
    """
    sidecar = read_sidecar(lora.path)
    metadata = lora.metadata
    triggers = sidecar.activation_text or metadata.get("modelspec.trigger_phrase", "")
    preferred = strength if strength is not None else sidecar.preferred_weight or None
    return Details(
        name=name or slug(lora.path.stem),
        title=metadata.get("modelspec.title") or lora.path.stem,
        trigger_words=[word.strip() for word in triggers.split(",") if word.strip()],
        strength=Strength() if preferred is None else _reaching(preferred),
        description=sidecar.description or metadata.get("modelspec.description", ""),
        license=metadata.get("modelspec.license", ""),
        picture=picture_beside(lora.path),
        negative_prompt=sidecar.negative_text or "",
        examples=examples_beside(lora.path),
        templates=sidecar.templates or [],
    )


def joined(parts: list[Details]) -> Details:
    """The details of several LoRAs in one style, which is whole at strength 1.

    It has no examples: those of its parts do not show what they make together.
    """
    return Details(
        name="-".join(part.name for part in parts),
        title=" + ".join(part.title for part in parts),
        trigger_words=_once(word for part in parts for word in part.trigger_words),
        strength=_reaching(1.0),
        description=" ".join(_once(part.description for part in parts)),
        license=", ".join(_once(part.license for part in parts)),
        picture=next((part.picture for part in parts if part.picture), None),
        negative_prompt=", ".join(_once(part.negative_prompt for part in parts)),
        templates=[template for part in parts for template in part.templates],
    )


def check_name(name: str) -> None:
    """A style's name stands in file names and addresses.

    Raises:
        BrushletError: it cannot.
    """
    fault = ""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        fault = "holds more than lower-case letters, digits, - and _, or starts with - or _"
    elif len(name) > MAX_NAME:
        fault = f"has {len(name)} characters, more than {MAX_NAME}"
    elif name == BASE_VARIANT:
        fault = "is what the base model is called"
    if fault:
        what = f"the style's name {name!a} {fault}"
        raise BrushletError(what, where="--name", todo="give another one with --name")


def check_strength(strength: float | None, where: str = "--strength") -> None:
    """A strength is multiplied with float32 weights.

    Raises:
        BrushletError: NaN, an infinity, or more than float32 holds.
    """
    if strength is not None and not abs(strength) <= _FLOAT32:  # NaN is not, either
        what = f"the strength {strength:g} is no number that float32 holds"
        raise BrushletError(what, where=where, todo="give a number, for example 0.7")


def slug(text: str) -> str:
    """A style name: lower-case letters, digits, `-` and `_`, starting with a letter or digit.

    A text in another script ends in some of its hash, so that two such have two names.
    """
    parts = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    name = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_") or "style"
    if any(letter.isalnum() and not letter.isascii() for letter in plain):
        name += f"-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return name


def _reaching(default: float) -> Strength:
    usual = Strength()
    return Strength(default=default, min=min(usual.min, default), max=max(usual.max, default))


def _once(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]
