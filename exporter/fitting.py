"""Whether LoRAs fit a base: found out before minutes are spent on it, and told with names."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from exporter.blend import Mixture
from exporter.slots import SlotSet, slot_paths
from runtime.errors import UnmatchedKeys, WrongBase, listed
from runtime.lora import BASE_HASH_KEY, LoraFile, match_adapters, match_slots
from runtime.manifest import SlotTable

_SETS: tuple[SlotSet, ...] = ("attn", "transformer", "full")


@contextmanager
def telling(
    mixture: Mixture,
    name: str,
    digest: str,
    tables: Sequence[SlotTable],
    every: Callable[[], Sequence[SlotTable]],
) -> Iterator[None]:
    """Makes errors of matching name the base, and the slot set that would do.

    Args:
        mixture: the files that are matched.
        name: of the base.
        digest: its hash.
        tables: what they are matched with.
        every: the same with the layers that have no slot.
    """
    try:
        yield
    except WrongBase as error:
        named = {file.metadata[BASE_HASH_KEY] for file in _of_others(mixture, digest)}
        trained = f", the LoRA names the base {', '.join(h[:12] for h in named)}" if named else ""
        what = f"{error.what}; the base here is {name} ({digest[:12]}){trained}"
        raise WrongBase(what, where=error.where, todo=error.todo) from None
    except UnmatchedKeys:
        for file, _ in mixture.files:
            _refuse_slotless(file, tables, every())
        raise


def lora_notes(mixture: Mixture | None, name: str, digest: str) -> Iterator[str]:
    """People do move LoRAs between bases of one family, so another base is no error."""
    for file in _of_others(mixture, digest) if mixture else ():
        yield (
            f"{file.path.name} was trained on another base ({file.metadata[BASE_HASH_KEY][:12]};"
            f" this one is {name}, {digest[:12]}): its style may come out weaker or different."
            " Export it on the base that it was trained on (BASE=), or look at pictures and choose"
            " another strength (STRENGTH=)."
        )


def _of_others(mixture: Mixture, digest: str) -> list[LoraFile]:
    """The files whose metadata name another base."""
    return [file for file, _ in mixture.files if file.metadata.get(BASE_HASH_KEY, digest) != digest]


def _refuse_slotless(
    file: LoraFile, tables: Sequence[SlotTable], every: Sequence[SlotTable]
) -> None:
    """Raises UnmatchedKeys when slots are all that a file lacks, and says which set has them."""
    paths = {alias: slot.name for table in every for slot in table.slots for alias in slot.aliases}
    slots = {alias for table in tables for slot in table.slots for alias in slot.aliases}
    without = [key for key in file.modules if key not in slots]
    if not without or not paths.keys() >= set(without):
        return
    layers = [paths[key] for key in without]
    needed = next(name for name in _SETS if len(slot_paths(layers, name)) == len(layers))
    raise UnmatchedKeys(
        f"{len(without)} of {len(file.modules)} modules adapt layers without a slot in a base of"
        f" SLOTS={tables[0].slot_set}: {listed(without)}",
        where=str(file.path),
        todo=f"export the base again with SLOTS={needed} (--slots {needed}), or this LoRA with"
        " MODE=merged, which needs no slots",
    )


def check_fit(
    mixture: Mixture,
    base: Path,
    name: str,
    digest: str,
    mode: Literal["external", "merged"],
    slot_set: SlotSet,
) -> None:
    """Matches LoRAs with a base that is yet to be exported, by its configuration alone.

    Args:
        mixture: the files.
        base: the folder of the model.
        name: of the base.
        digest: its hash.
        mode: merged, every layer will do, and every kind.
        slot_set: that the base will be exported with.

    Raises:
        BadFile, WrongBase, UnmatchedKeys, BrushletError: as `match_slots` or `match_adapters`.
    """
    from exporter.planned import planned_slots  # imports torch

    every = planned_slots(base, "full")
    tables = planned_slots(base, slot_set) if mode == "external" else every
    with telling(mixture, name, digest, tables, lambda: every):
        for file, _ in mixture.files:
            (match_slots if mode == "external" else match_adapters)(file, *tables)
