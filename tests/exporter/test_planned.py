from pathlib import Path

import pytest

from exporter.planned import planned_slots
from exporter.slots import SlotSet
from runtime.bundle import Bundle
from runtime.errors import BadFile
from runtime.manifest import SlotTable


def told(table: SlotTable) -> list[object]:
    """A slot table without where weights lie."""
    return [
        table.model,
        table.slot_set,
        *(slot.model_dump(exclude={"weight"}) for slot in table.slots),
    ]


def test_the_plan_is_what_the_export_does(bundle: Bundle, tiny_base: Path) -> None:
    planned = planned_slots(tiny_base, "transformer")
    assert [told(table) for table in planned] == [told(table) for table in bundle.slot_tables()]


@pytest.mark.parametrize("slot_set", ["attn", "full"])
def test_the_text_encoder_has_one_set(slot_set: SlotSet, tiny_base: Path) -> None:
    unet, text = planned_slots(tiny_base, slot_set)
    assert (unet.slot_set, text.slot_set) == (slot_set, "transformer")
    assert told(text) == told(planned_slots(tiny_base, "transformer")[1])


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=tmp_path.name):
        planned_slots(tmp_path, "transformer")
