"""The styles that a picture is drawn with: how strongly, on which models, and what they need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.manifest import BASE_VARIANT
from runtime.packs import Pack, stack
from runtime.tensors import Float32


class Strengths(NamedTuple):
    """Of a style on each model, as in A1111's `<lora:name:te:unet>`."""

    unet: float
    te: float


@dataclass(frozen=True)
class ChosenStyles:
    """The variant to run, and the packs that go into its slots: none into a merged one's."""

    bundle: Bundle
    variant: str
    packs: Sequence[tuple[Pack, Strengths]]

    def unet_inputs(self) -> dict[str, Float32]:
        """The UNet's LoRA inputs; empty on a merged variant."""
        if self.variant != BASE_VARIANT:
            return {}
        packs = [(pack, strengths.unet) for pack, strengths in self.packs]
        return stack(packs, self.bundle.slot_table())

    def text_inputs(self) -> dict[str, Float32]:
        """The text encoder's LoRA inputs; empty on a merged variant."""
        if self.variant != BASE_VARIANT:
            return {}
        packs = [(pack, strengths.te) for pack, strengths in self.packs]
        return stack(packs, self.bundle.text_slot_table())


def add_up(*choices: Mapping[str, float | Strengths]) -> dict[str, Strengths]:
    """Styles chosen in several ways, as one choice: the strengths of each add up."""
    total: dict[str, Strengths] = {}
    for name, strength in (item for choice in choices for item in choice.items()):
        before = total.get(name, Strengths(0, 0))
        own = strength if isinstance(strength, Strengths) else Strengths(strength, strength)
        total[name] = Strengths(before.unet + own.unet, before.te + own.te)
    return total


def choose_styles(bundle: Bundle, styles: Mapping[str, float | Strengths]) -> ChosenStyles:
    """Finds the styles called by name; one number is the strength on every model.

    Raises:
        BrushletError: an unknown style, or a merged one not alone or at another strength.
        BadFile, WrongBase: a pack is damaged or made for another base.
    """
    found = {name: bundle.style(name) for name in styles}
    used = {name: strengths for name, strengths in add_up(styles).items() if any(strengths)}
    merged = next((found[name] for name in used if found[name].kind == "merged"), None)
    if merged is None:
        packs = [(bundle.style_pack(name), strengths) for name, strengths in used.items()]
        return ChosenStyles(bundle, BASE_VARIANT, packs)
    fixed = merged.merged_strength
    if used != {merged.name: (fixed, fixed)} or merged.variant is None:
        what = f"the style {merged.name} is merged at the strength {fixed}"
        todo = f"use it alone at {fixed} or 0, or export it with MODE=external"
        raise BrushletError(what, todo=todo)
    return ChosenStyles(bundle, merged.variant, [])
