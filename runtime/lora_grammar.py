"""The grammar of LoRA files as data, so that a browser reads what `runtime.lora` reads.

Which suffix names which part, which parts make a kind, and by what other files are known: a bundle
carries it (`Manifest.lora`), and a key style that is added here needs no line of TypeScript. What
the parts of a kind compute is code in both (`runtime/adapters.py`, `web/src/engine/lowrank.ts`).
"""

from pydantic import Field

from runtime._lora_kinds import (
    ARCHITECTURE_FIELDS,
    ARCHITECTURES,
    CHECKPOINT,
    FAMILIES,
    UNSUPPORTED,
)
from runtime._lora_parts import KINDS, NUMBERS, SUFFIXES
from runtime.lora import BASE_HASH_KEY, TEXT_ENCODERS
from runtime.manifest import Strict


class LoraKind(Strict):
    """A kind of adapter: which parts make it whole, and what may come too."""

    name: str
    forms: list[list[str]] = Field(description="whole sets of parts")
    extras: list[str] = Field(description="parts that may come beside a whole set")
    shapes: str = Field(description="what its parts look like, for people")


class NamedPattern(Strict):
    """Something that files are known by: a regular expression that a tensor key or module key
    matches somewhere, in what Python's `re` and ECMAScript have in common."""

    name: str
    pattern: str


class Architecture(Strict):
    """A model family by what metadata say."""

    start: str = Field(description="how the field begins, in lower case")
    family: str


class LoraGrammar(Strict):
    """How LoRA files are read. A tensor key is a module key (`Slot.aliases`) and a suffix."""

    suffixes: dict[str, str] = Field(description="suffix -> part; none is the end of another")
    kinds: list[LoraKind]
    numbers: list[str] = Field(description="parts that are one number")
    unsupported: list[NamedPattern] = Field(description="kinds that are known and not supported")
    checkpoint: str = Field(description="pattern at the start of a whole checkpoint's keys")
    families: list[NamedPattern] = Field(description="other model families, by module keys")
    architectures: list[Architecture] = Field(description="the same, by metadata")
    architecture_fields: list[str] = Field(description="metadata that name the architecture")
    text_encoders: list[str] = Field(description="what module keys of text encoders begin with")
    base_hash_field: str = Field(description="metadata: Manifest.base_hash of the base trained on")


def lora_grammar() -> LoraGrammar:
    """The grammar that this version reads."""
    return LoraGrammar(
        suffixes=SUFFIXES,
        kinds=[
            LoraKind(
                name=name,
                forms=[sorted(form) for form in kind.forms],
                extras=sorted(kind.extras),
                shapes=kind.shapes,
            )
            for name, kind in KINDS.items()
        ],
        numbers=list(NUMBERS),
        unsupported=[NamedPattern(name=n, pattern=p) for n, p in UNSUPPORTED.items()],
        checkpoint=CHECKPOINT,
        families=[NamedPattern(name=n, pattern=p) for n, p in FAMILIES.items()],
        architectures=[Architecture(start=s, family=f) for s, f in ARCHITECTURES.items()],
        architecture_fields=list(ARCHITECTURE_FIELDS),
        text_encoders=list(TEXT_ENCODERS),
        base_hash_field=BASE_HASH_KEY,
    )
