from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from runtime.errors import BadFile, BrushletError, WrongBase
from runtime.lora import LoraFile, LoraModule, match_slots
from runtime.manifest import SlotTable, Strength
from runtime.packs import Pack, dump_pack, make_pack, read_pack, stack
from runtime.tensors import dump_tensors, parse_tensors

BASE, OTHER = "ab" * 32, "cd" * 32


def lora(table: SlotTable, rank: int, seed: int, alpha: float | None = None) -> LoraFile:
    """A random LoRA on every second slot, the first of them of half the rank."""
    random = np.random.default_rng(seed)
    modules = {}
    for index, slot in enumerate(table.slots[seed % 2 :: 2]):
        width = max(1, rank // 2) if index == 0 else rank
        modules[slot.aliases[0]] = LoraModule(
            down=random.normal(size=(width, slot.in_width)).astype(np.float16),
            up=random.normal(size=(slot.out_width, width)).astype(np.float16),
            alpha=alpha,
        )
    return LoraFile(Path(f"{seed}.safetensors"), f"{seed:064x}", {}, modules)


def pack(table: SlotTable, rank: int = 4, seed: int = 0, alpha: float | None = None) -> Pack:
    return make_pack(
        lora(table, rank, seed, alpha),
        table,
        base_hash=BASE,
        base_name="tiny",
        name=f"style{seed}",
        title="Überschrift",
        trigger_words=["castle", "雲"],
        strength=Strength(default=0.7, min=-1, max=2),
        license="CC0-1.0",
        description="two lines\nof text",
    )


def test_a_pack_is_the_lora_with_its_scale_in_b(table: SlotTable) -> None:
    found = pack(table, rank=4, seed=0, alpha=2)
    adapters = match_slots(lora(table, 4, 0, alpha=2), table)
    assert len(found.tensors) == 2 * len(adapters)
    for slot in table.slots:
        if slot.name in adapters:
            A, B = found.tensors[slot.input_a], found.tensors[slot.input_b]
            assert A.dtype == B.dtype == np.float16
            rank = adapters[slot.name].A.shape[1]
            assert A.shape == (slot.in_width, rank)
            assert B.shape == (rank, slot.out_width)
            expected = adapters[slot.name].A @ adapters[slot.name].B
            # Exact: the source is fp16 and its scales are powers of two.
            assert A.astype(np.float32) @ B.astype(np.float32) == pytest.approx(expected, abs=0)


def test_a_small_scale_costs_no_digits(table: SlotTable) -> None:
    """Alpha 1, as kohya trains by default, at rank 64 is far below fp16's normal numbers."""
    small = lora(table, 64, 0, alpha=1)
    for module in small.modules.values():
        module.up[:] *= np.float16(1e-3)
    made = make_pack(small, table, base_hash=BASE, base_name="tiny", name="small", title="Small")
    for slot in table.slots:
        if module := small.modules.get(slot.aliases[0]):
            up, down = (array.astype(float) for array in (module.up, module.down))
            expected = (up @ down.reshape(len(down), -1)).T / len(down)
            A, B = (made.tensors[name].astype(float) for name in (slot.input_a, slot.input_b))
            assert np.abs(A @ B - expected).max() <= 1e-3 * np.abs(expected).max()


def test_a_pack_is_as_large_as_its_tensors_whatever_their_ranks(table: SlotTable) -> None:
    """One module of rank 64 among many of rank 2."""
    mixed = lora(table, 2, 0)
    key = list(mixed.modules)[-1]
    mixed.modules[key] = lora(table, 64, 0).modules[key]
    made = make_pack(mixed, table, base_hash=BASE, base_name="tiny", name="mixed", title="Mixed")
    assert made.metadata.rank == 64
    own = sum(module.down.nbytes + module.up.nbytes for module in mixed.modules.values())
    header = 8 + int.from_bytes(dump_pack(made)[:8], "little")
    assert len(dump_pack(made)) - header == own
    read = read_pack(dump_pack(made), BASE, "tiny")
    inputs = stack([(read, 1.0), (pack(table), 0.5)], table)
    for slot in table.slots:
        assert inputs[slot.input_a].shape == (slot.in_width, 64 + 4)
        expected = np.zeros((slot.in_width, slot.out_width))
        for adapters, strength in ((mixed, 1.0), (lora(table, 4, 0), 0.5)):
            if adapter := match_slots(adapters, table).get(slot.name):
                expected += strength * (adapter.A @ adapter.B)
        found = inputs[slot.input_a] @ inputs[slot.input_b]
        assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_packs_of_one_rank_as_they_were_once_written_are_read(table: SlotTable) -> None:
    made = pack(table)
    rank = made.metadata.rank
    padded = {
        name: np.pad(
            array,
            ((0, 0), (0, rank - array.shape[1]))
            if name.endswith("lora_A")
            else ((0, rank - array.shape[0]), (0, 0)),
        )
        for name, array in made.tensors.items()
    }
    old, new = (stack([(p, 0.7)], table) for p in (Pack(made.metadata, padded), made))
    assert all((old[name] == new[name]).all() for name in new)


def test_a_pack_survives_its_file(table: SlotTable, tmp_path: Path) -> None:
    written = pack(table)
    (tmp_path / "style.safetensors").write_bytes(dump_pack(written))
    for source in (tmp_path / "style.safetensors", dump_pack(written)):
        found = read_pack(source, BASE, "tiny")
        assert found.metadata == written.metadata
        assert found.tensors.keys() == written.tensors.keys()
        assert all((found.tensors[name] == written.tensors[name]).all() for name in found.tensors)


def test_packs_are_plain_safetensors_with_texts(table: SlotTable) -> None:
    data = dump_pack(pack(table))
    assert data == dump_pack(pack(table))
    assert set(safetensors.numpy.load(data)) == set(pack(table).tensors)
    _, texts = parse_tensors(data, "pack")
    assert texts["format"] == "brushlet-pack/1"
    assert texts["rank"] == "4"
    assert texts["strength"] == '{"default": 0.7, "max": 2.0, "min": -1.0}'
    assert texts["source_sha256"] == f"{0:064x}"


def test_a_pack_for_another_base_is_refused_with_both_names(table: SlotTable) -> None:
    with pytest.raises(WrongBase) as caught:
        read_pack(dump_pack(pack(table)), OTHER, "big")
    message = str(caught.value)
    assert "the base tiny (abababababababab)" in message
    assert "base is big (cdcdcdcdcdcdcdcd)" in message
    assert "export its LoRA on big" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "brushlet-pack/2"}, "is not a style pack of format brushlet-pack/1"),
        ({"rank": "0"}, "metadata field rank"),
        ({"rank": "four"}, "metadata that is not JSON"),
        ({"name": "../x"}, "metadata field name"),
        ({"base_hash": "short"}, "metadata field base_hash"),
        ({"strength": "[]"}, "metadata field strength"),
        ({"trigger_words": "{}"}, "metadata field trigger_words"),
        ({"surprise": "1"}, "metadata field surprise"),
    ],
)
def test_packs_that_are_not_as_the_format_says(
    change: dict[str, str], words: str, table: SlotTable
) -> None:
    tensors, texts = parse_tensors(dump_pack(pack(table)), "pack")
    with pytest.raises(BadFile, match=words):
        read_pack(dump_tensors(tensors, {**texts, **change}), BASE, "tiny")


def test_a_lora_file_is_no_pack(table: SlotTable) -> None:
    with pytest.raises(BadFile, match="is not a style pack"):
        read_pack(dump_tensors({"a": np.ones(1, np.float16)}, {}), BASE, "tiny")


@pytest.mark.parametrize(("first", "second"), [(1.0, 1.0), (0.8, -0.5), (0.0, 1.3)])
def test_stacked_styles_add_up(first: float, second: float, table: SlotTable) -> None:
    packs = [(pack(table, 4, 0), first), (pack(table, 8, 1, alpha=3), second), (pack(table), 0.1)]
    inputs = stack(packs, table)
    assert set(inputs) == {name for slot in table.slots for name in (slot.input_a, slot.input_b)}
    ranks = {array.shape[1] for name, array in inputs.items() if name.endswith("lora_A")}
    assert ranks == {16 if first else 12}
    for slot in table.slots:
        expected = np.zeros((slot.in_width, slot.out_width))
        for style, strength in packs:
            if slot.input_a in style.tensors:
                A, B = style.tensors[slot.input_a], style.tensors[slot.input_b]
                expected += strength * (A.astype(float) @ B.astype(float))
        found = inputs[slot.input_a].astype(float) @ inputs[slot.input_b].astype(float)
        assert inputs[slot.input_a].dtype == np.float32
        assert np.abs(found - expected).max() <= 1e-6 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("strengths", [[], [0.0], [0.0, 0.0]])
def test_no_style_is_a_zero_pack_of_rank_one(strengths: list[float], table: SlotTable) -> None:
    inputs = stack([(pack(table), strength) for strength in strengths], table)
    for slot in table.slots:
        assert inputs[slot.input_a].shape == (slot.in_width, 1)
        assert inputs[slot.input_b].shape == (1, slot.out_width)
    assert not any(array.any() for array in inputs.values())


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_strength_must_be_a_number(strength: float, table: SlotTable) -> None:
    with pytest.raises(BrushletError, match="style style0: the strength"):
        stack([(pack(table), strength)], table)


def test_tensors_that_do_not_fit_the_slots_are_refused(table: SlotTable) -> None:
    good, slot = pack(table), table.slots[0]
    without_b = {name: array for name, array in good.tensors.items() if name != slot.input_b}
    stray = {**good.tensors, "elsewhere.lora_A": np.ones((3, 4), np.float16)}
    cut = {**good.tensors, slot.input_a: good.tensors[slot.input_a][:-1]}
    beyond = {
        **good.tensors,
        slot.input_a: np.ones((slot.in_width, 5), np.float16),
        slot.input_b: np.ones((5, slot.out_width), np.float16),
    }
    for tensors, words in (
        (without_b, "and has none"),
        (stray, "elsewhere"),
        (cut, "should have"),
        (beyond, "should have"),
    ):
        with pytest.raises(BadFile, match=words):
            stack([(Pack(good.metadata, tensors), 1)], table)
