"""Style tags in a prompt, as A1111 writes them: `<lora:name:0.8>`."""

import re
from typing import NamedTuple

from runtime.errors import BrushletError
from runtime.styles import Strengths, add_up

# What lies between stops at a bracket of either kind, so that looking for tags is linear.
_TAG = re.compile(r"<lora:([^<>]+)>")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")


class TaggedPrompt(NamedTuple):
    """A prompt without its tags, and the styles that they name, in their order."""

    prompt: str
    styles: dict[str, Strengths]


def take_tags(prompt: str) -> TaggedPrompt:
    """Takes the tags out of a prompt; what stood around them is left, as A1111 leaves it.

    `<lora:name>`, `<lora:name:both>`, `<lora:name:te:unet>` and `<lora:name:te=..:unet=..>`: as in
    A1111 a strength that is not given is 1, and `unet` is as `te` where only that is given. The
    strengths of a style that is named several times add up. Tags of other kinds
    (`<hypernet:..>`) stay, as words.

    Raises:
        BrushletError: a tag whose strengths cannot be read.
    """
    styles = add_up(*({name: strengths} for name, strengths in map(_read, _TAG.finditer(prompt))))
    return TaggedPrompt(_TAG.sub("", prompt), styles)


def first_tag(text: str) -> str | None:
    """The first tag, if any: where no style can be chosen, it would be read as words."""
    found = _TAG.search(text)
    return found and found[0]


def _read(tag: re.Match[str]) -> tuple[str, Strengths]:
    def refuse(what: str) -> BrushletError:
        todo = "write <lora:name:strength>, <lora:name:te:unet> or <lora:name:te=0.5:unet=0.8>"
        return BrushletError(what, where=tag[0], todo=todo)

    name, *fields = (field.strip() for field in tag[1].split(":"))
    if not name:
        raise refuse("names no style")
    in_order: list[float] = []
    named: dict[str, float] = {}
    for field in fields:
        key, equals, right = (part.strip() for part in field.partition("="))
        value = right if equals else key
        if not _NUMBER.fullmatch(value):
            raise refuse(f"has {value!r} where a number belongs")
        if not equals:
            in_order.append(float(value))
        elif key in ("te", "unet"):
            named[key] = float(value)
        else:
            raise refuse(f"has a field {key!r} beside te and unet")
    if len(in_order) > 2:
        raise refuse("has more than two strengths")
    te = named.get("te", in_order[0] if in_order else 1.0)
    unet = named.get("unet", in_order[1] if len(in_order) > 1 else te)
    return name, Strengths(unet=unet, te=te)
