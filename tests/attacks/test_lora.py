"""One test per way in which a LoRA file can be wrong though its safetensors are right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.merge import merged, stored
from runtime.errors import BadFile, BrushletError, WrongBase
from runtime.lora import match_adapters, match_slots, read_lora
from runtime.manifest import Slot, SlotTable, WeightPlace
from runtime.packs import make_pack
from runtime.tensors import write_tensors

DOWN, UP = "lora_unet_x.lora_down.weight", "lora_unet_x.lora_up.weight"


def slot(name: str, kind: Any, ins: int, outs: int) -> Slot:
    place = WeightPlace(shard="0", offset=0, shape=[outs, ins], dtype="float16", transposed=False)
    return Slot(
        name=name,
        kind=kind,
        in_width=ins,
        out_width=outs,
        input_a=f"{name}.lora_A",
        input_b=f"{name}.lora_B",
        aliases=[f"lora_unet_{name}", f"unet.{name}"],
        weight=place,
    )


TABLE = SlotTable(
    slot_set="full", slots=[slot("x", "linear", 3, 4), slot("conv", "conv3x3", 9 * 3, 4)]
)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


GOOD = {DOWN: ones(2, 3), UP: ones(4, 2)}


def refusal(
    folder: Path,
    tensors: dict[str, Any],
    metadata: dict[str, str] | None = None,
    kind: type[BrushletError] = BadFile,
) -> str:
    """The one line that the file gets on its way to a pack."""
    path = folder / "evil.safetensors"
    write_tensors(path, tensors, metadata or {})
    with pytest.raises(kind) as caught:
        make_pack(
            read_lora(path), TABLE, base_hash="0" * 64, base_name="tiny", name="evil", title="Evil"
        )
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert caught.value.todo
    return message


def test_the_good_one_is_good(tmp_path: Path) -> None:
    write_tensors(tmp_path / "good.safetensors", GOOD, {})
    assert list(match_slots(read_lora(tmp_path / "good.safetensors"), TABLE)) == ["x"]


def test_no_tensors(tmp_path: Path) -> None:
    assert "has no tensors" in refusal(tmp_path, {})


def test_keys_of_no_module_are_all_listed(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**GOOD, "stray": ones(1), "lora_unet_x.weird": ones(1)})
    assert "2 keys are not part of any LoRA module" in message
    assert "stray" in message
    assert "lora_unet_x.weird" in message


LOHA = {f"lora_unet_x.hada_w{half}_a": ones(4, 1) for half in "12"}
LOHA |= {f"lora_unet_x.hada_w{half}_b": ones(1, 3) for half in "12"}
LOKR = {
    "lora_unet_x.lokr_w1_a": ones(2, 1),
    "lora_unet_x.lokr_w1_b": ones(1, 1),
    "lora_unet_x.lokr_w2_a": ones(2, 1),
    "lora_unet_x.lokr_w2_b": ones(1, 3),
}
IA3 = {"lora_unet_x.weight": ones(3), "lora_unet_x.on_input": np.array(1)}
FULL = {"lora_unet_x.diff": ones(4, 3)}
PEFT_IA3 = {"lora_unet_x.ia3_l": ones(4, 1)}
KINDS = {"LoRA": GOOD, "LoHa": LOHA, "LoKr": LOKR, "(IA)^3": IA3, "full difference": FULL}


@pytest.mark.parametrize("kind", KINDS)
def test_good_ones_of_every_kind(kind: str, tmp_path: Path) -> None:
    write_tensors(tmp_path / "good.safetensors", KINDS[kind], {})
    (adapter,) = match_adapters(read_lora(tmp_path / "good.safetensors"), TABLE).values()
    assert adapter.kind == kind
    assert adapter.apply(ones(4, 3), 1.0).shape == (4, 3)


@pytest.mark.parametrize("kind", ["LoRA", "LoHa", "LoKr"])
def test_half_a_module(kind: str, tmp_path: Path) -> None:
    for key in KINDS[kind]:
        tensors = {name: tensor for name, tensor in KINDS[kind].items() if name != key}
        message = refusal(tmp_path, tensors)
        assert "1 module is not whole or not of one kind: lora_unet_x has only ." in message
        assert key not in message


@pytest.mark.parametrize("part", ["alpha", "scalar", "dora_scale", "on_input", "diff_b"])
def test_a_part_of_no_adapter(part: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, {**GOOD, f"lora_unet_y.{part}": ones(1)})
    assert f"lora_unet_y has only .{part}" in message


def test_the_weight_of_no_ia3_is_a_stranger(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**GOOD, "lora_unet_y.weight": ones(3)})
    assert "1 key is not part of any LoRA module: lora_unet_y.weight" in message


@pytest.mark.parametrize(
    "pair", [("LoRA", "LoHa"), ("LoRA", "full difference"), ("LoHa", "LoKr"), ("LoRA", "(IA)^3")]
)
def test_two_kinds_in_one_module(pair: tuple[str, str], tmp_path: Path) -> None:
    message = refusal(tmp_path, KINDS[pair[0]] | KINDS[pair[1]])
    assert f"lora_unet_x mixes {pair[0]} and {pair[1]}" in message


@pytest.mark.parametrize("kind", ["(IA)^3", "full difference"])
@pytest.mark.parametrize("part", ["alpha", "dora_scale"])
def test_parts_that_a_kind_does_not_have(kind: str, part: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, {**KINDS[kind], f"lora_unet_x.{part}": ones(1)})
    assert f"lora_unet_x has .{part} beside {kind}" in message


def test_two_magnitudes(tmp_path: Path) -> None:
    tensors = {"lora_unet_x.dora_scale": ones(4, 1), "lora_unet_x.lora_magnitude_vector": ones(4)}
    assert "are no LoRA" in refusal(tmp_path, GOOD | tensors)


@pytest.mark.parametrize("shape", [(3, 1), (5,), (4, 3), (1, 1, 4), (2, 2)])
def test_magnitudes_of_no_width(shape: tuple[int, ...], tmp_path: Path) -> None:
    message = refusal(tmp_path, {**GOOD, "lora_unet_x.dora_scale": ones(*shape)})
    assert f"dora_scale {list(shape)}" in message


def test_magnitudes_of_other_inputs(tmp_path: Path) -> None:
    tensors = {**GOOD, "lora_unet_x.dora_scale": ones(1, 4)}
    message = refusal(tmp_path, tensors, kind=WrongBase)
    assert (
        "lora_unet_x is 3 -> 4 with 4 magnitudes over inputs where the base has 3 -> 4" in message
    )


def test_two_spellings_of_one_part(tmp_path: Path) -> None:
    tensors = {**GOOD, "lora_unet_x.lora_A.weight": ones(2, 3)}
    assert "the same thing twice" in refusal(tmp_path, tensors)


def test_two_modules_for_one_slot(tmp_path: Path) -> None:
    tensors = {**GOOD, "unet.x.lora_A.weight": ones(2, 3), "unet.x.lora_B.weight": ones(4, 2)}
    assert "two modules adapt the same layer x" in refusal(tmp_path, tensors)


@pytest.mark.parametrize(
    ("down", "up"),
    [
        (ones(2, 3), ones(4, 5)),  # ranks differ
        (ones(3, 2), ones(2, 4)),  # transposed
        (ones(2), ones(4, 2)),
        (ones(2, 3, 1), ones(4, 2)),
        (np.float32(1).reshape(()), ones(4, 2)),
        (ones(2, 3), np.ones((4, 2), np.int8)),
    ],
)
def test_shapes_and_types_that_are_no_pair(down: Any, up: Any, tmp_path: Path) -> None:
    message = refusal(tmp_path, {DOWN: down, UP: up})
    assert "module lora_unet_x: down" in message
    assert "are no LoRA, which is down [rank, in, ...] and up [out, rank]" in message


# what is changed in a good file -> every one of them a pair of shapes that do not fit
MISFITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an up that is a convolution": (GOOD, {UP: ones(4, 2, 3, 3)}),
    "a 5x5 convolution": (GOOD, {DOWN: ones(2, 3, 5, 5)}),
    "a core of another rank": (GOOD, {"lora_unet_x.lora_mid.weight": ones(3, 3, 3, 3)}),
    "a core that is not square": (GOOD, {"lora_unet_x.lora_mid.weight": ones(2, 3, 3, 3)}),
    "a core and a down without axes": (
        GOOD,
        {DOWN: np.float32(1).reshape(()), "lora_unet_x.lora_mid.weight": ones(2, 2, 3, 3)},
    ),
    "a core that is flat": (GOOD, {"lora_unet_x.lora_mid.weight": ones(2, 2)}),
    "a core and a 3x3 down": (
        GOOD,
        {DOWN: ones(2, 3, 3, 3), "lora_unet_x.lora_mid.weight": ones(2, 2, 3, 3)},
    ),
    "LoHa of two ranks": (
        LOHA,
        {"lora_unet_x.hada_w2_a": ones(4, 2), "lora_unet_x.hada_w2_b": ones(2, 3)},
    ),
    "LoHa of two widths": (LOHA, {"lora_unet_x.hada_w2_b": ones(1, 2)}),
    "LoHa without a rank": (LOHA, {"lora_unet_x.hada_w1_a": ones(4)}),
    "LoHa with flat cores": (
        LOHA,
        {"lora_unet_x.hada_t1": ones(1, 1), "lora_unet_x.hada_t2": ones(1, 1)},
    ),
    "LoKr of two ranks": (
        LOKR,
        {"lora_unet_x.lokr_w2_a": ones(2, 2), "lora_unet_x.lokr_w2_b": ones(2, 3)},
    ),
    "LoKr of ranks that differ": (LOKR, {"lora_unet_x.lokr_w1_a": ones(2, 2)}),
    "LoKr of a vector": (LOKR, {"lora_unet_x.lokr_w1_a": ones(2)}),
    "(IA)^3 of a matrix": (IA3, {"lora_unet_x.weight": ones(4, 3)}),
    "(IA)^3 on neither side": (IA3, {"lora_unet_x.on_input": np.array(2)}),
    "(IA)^3 of integers": (IA3, {"lora_unet_x.weight": np.ones(3, np.int8)}),
    "PEFT (IA)^3 of a convolution": (PEFT_IA3, {"lora_unet_x.ia3_l": ones(1, 4, 1, 1)}),
    "PEFT (IA)^3 of a matrix": (PEFT_IA3, {"lora_unet_x.ia3_l": ones(4, 3)}),
    "a difference without columns": (FULL, {"lora_unet_x.diff": ones(4)}),
    "a difference of 5x5": (FULL, {"lora_unet_x.diff": ones(4, 3, 5, 5)}),
}


def test_the_vector_of_peft_is_one_more_than_that_of_lycoris(tmp_path: Path) -> None:
    """And scales the whole output, the bias too."""
    tensors = {"lora_unet_x.ia3_l": np.full((4, 1), 1.5, np.float32)}
    write_tensors(tmp_path / "l.safetensors", tensors, {})
    (adapter,) = match_adapters(read_lora(tmp_path / "l.safetensors"), TABLE).values()
    assert (adapter.apply(ones(4, 3), 1.0) == 1.5).all()
    assert (adapter.apply(ones(4, 3), 0.5) == 1.25).all()
    assert adapter.touches_bias
    assert (adapter.apply_bias(ones(4), 0.5) == 1.25).all()
    write_tensors(tmp_path / "l.safetensors", {"lora_unet_x.ia3_l": ones(1, 3) * 3}, {})
    (adapter,) = match_adapters(read_lora(tmp_path / "l.safetensors"), TABLE).values()
    assert (adapter.apply(ones(4, 3), 1.0) == 3).all()
    assert not adapter.touches_bias


@pytest.mark.parametrize("fault", MISFITS)
def test_shapes_that_do_not_fit_one_another(fault: str, tmp_path: Path) -> None:
    good, change = MISFITS[fault]
    message = refusal(tmp_path, good | change)
    assert "module lora_unet_x: " in message
    assert ", which is " in message


def test_a_core_that_asks_for_terabytes(tmp_path: Path) -> None:
    tensors = {DOWN: ones(1, 10**5), UP: ones(4, 1)}
    tensors["lora_unet_x.lora_mid.weight"] = ones(1, 1, 1000, 1000)
    assert "mid [1, 1, 1000, 1000] float32" in refusal(tmp_path, tensors)


def test_a_kronecker_product_that_asks_for_terabytes(tmp_path: Path) -> None:
    tensors = {f"lora_unet_x.lokr_w{half}": ones(1000, 1000) for half in "12"}
    message = refusal(tmp_path, tensors, kind=WrongBase)
    assert "lora_unet_x is 1000000 -> 1000000 where the base has 3 -> 4" in message


def test_a_hadamard_product_of_a_huge_rank(tmp_path: Path) -> None:
    rank = 50_000  # rank^2 columns of one float32 would be 10 GB
    tensors = {f"lora_unet_x.hada_w{half}_a": ones(4, rank) for half in "12"}
    tensors |= {f"lora_unet_x.hada_w{half}_b": ones(rank, 3) for half in "12"}
    message = refusal(tmp_path, tensors, kind=BrushletError)
    assert "1 of 1 modules have no exact low-rank form - LoHa: of rank^2" in message
    assert "MODE=merged" in message


@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (2, 2)])
def test_a_bias_that_is_no_vector(shape: tuple[int, ...], tmp_path: Path) -> None:
    message = refusal(tmp_path, {**FULL, "lora_unet_x.diff_b": ones(*shape)})
    assert f"module lora_unet_x: diff_b of the shape {list(shape)} is no" in message


def test_a_bias_of_another_width(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**FULL, "lora_unet_x.diff_b": ones(3)}, kind=WrongBase)
    assert "lora_unet_x is 3 -> 4 with a bias of 3 where the base has 3 -> 4" in message


def test_a_bias_of_zeros_changes_nothing(tmp_path: Path) -> None:
    write_tensors(tmp_path / "l.safetensors", GOOD | {"lora_unet_x.diff_b": 0 * ones(4)}, {})
    assert list(match_slots(read_lora(tmp_path / "l.safetensors"), TABLE)) == ["x"]


NOT_EXTERNAL = {
    "DoRA: it rescales the base weight": {**GOOD, "lora_unet_x.dora_scale": ones(4, 1)},
    "(IA)^3: it multiplies the base weight": IA3,
    "full difference: it is a full matrix": FULL,
    "weight and bias: it changes the layer's bias, for which graphs have no input": {
        **GOOD,
        "lora_unet_x.diff_b": ones(4),
    },
    "LoKr: of w1's times w2's rank not below the layer's own": {
        "lora_unet_x.lokr_w1": ones(1, 1),
        "lora_unet_x.lokr_w2": ones(4, 3),
    },
}


@pytest.mark.parametrize("why", NOT_EXTERNAL)
def test_kinds_without_a_low_rank_form_name_merged(why: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, NOT_EXTERNAL[why], kind=BrushletError)
    names = {name.split(".")[0].removeprefix("lora_unet_") for name in NOT_EXTERNAL[why]}
    assert f"{len(names)} of {len(names)} modules have no exact low-rank form - {why} (" in message
    assert all(name in message.split(why)[1] for name in names)
    assert "MODE=merged" in message


@pytest.mark.parametrize(("down", "up"), [((2, 5), (4, 2)), ((2, 3), (7, 2))])
def test_widths_of_another_base(down: Any, up: Any, tmp_path: Path) -> None:
    message = refusal(tmp_path, {DOWN: ones(*down), UP: ones(*up)}, kind=WrongBase)
    assert f"lora_unet_x is {down[1]} -> {up[0]} where the base has 3 -> 4" in message


@pytest.mark.parametrize(
    ("down", "size"),
    [((2, 3), "3 -> 4"), ((2, 27, 1, 1), "27 -> 4"), ((2, 4, 3, 3), "4 -> 4 (3x3)")],
)
def test_kernels_of_another_base(down: tuple[int, ...], size: str, tmp_path: Path) -> None:
    key = "lora_unet_conv.lora"
    tensors = {f"{key}_down.weight": ones(*down), f"{key}_up.weight": ones(4, 2, 1, 1)}
    message = refusal(tmp_path, tensors, kind=WrongBase)
    assert f"lora_unet_conv is {size} where the base has 3 -> 4 (3x3)" in message


def test_a_convolution_for_a_linear_layer(tmp_path: Path) -> None:
    message = refusal(tmp_path, {DOWN: ones(2, 3, 3, 3), UP: ones(4, 2, 1, 1)}, kind=WrongBase)
    assert "lora_unet_x is 3 -> 4 (3x3) where the base has 3 -> 4" in message


@pytest.mark.parametrize(("count", "side"), [(4, "inputs"), (3, "outputs")])
def test_vectors_of_another_base(count: int, side: str, tmp_path: Path) -> None:
    on_input = np.array(int(side == "inputs"))
    tensors = {"lora_unet_x.weight": ones(count), "lora_unet_x.on_input": on_input}
    message = refusal(tmp_path, tensors, kind=WrongBase)
    assert f"lora_unet_x is for {count} {side} where the base has 3 -> 4" in message


def test_alpha_that_is_no_number(tmp_path: Path) -> None:
    assert "alpha has the shape [2]" in refusal(tmp_path, {**GOOD, "lora_unet_x.alpha": ones(2)})


@pytest.mark.parametrize("alpha", [1e38, 1e300])
def test_alpha_beyond_float32(alpha: float, tmp_path: Path) -> None:
    tensors = {DOWN: ones(2, 3), UP: ones(4, 2) * 1000, "lora_unet_x.alpha": np.array(alpha)}
    assert "more than a float32 holds" in refusal(tmp_path, tensors)


def test_alpha_beyond_float32_is_not_merged_either(tmp_path: Path) -> None:
    for kind in ("LoRA", "LoHa", "LoKr"):
        tensors = {**KINDS[kind], "lora_unet_x.alpha": np.array(1e300)}
        write_tensors(tmp_path / "l.safetensors", tensors, {})
        adapter = match_adapters(read_lora(tmp_path / "l.safetensors"), TABLE)["x"]
        with pytest.raises(BadFile, match="merged, the weight reaches"):
            stored(merged(ones(4, 3), TABLE.slots[0], adapter, 1.0), TABLE.slots[0])


def test_values_beyond_fp16(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**GOOD, "lora_unet_x.alpha": np.array(1e12)})
    assert "the LoRA of x reaches 5.24e+05, which fp16 cannot hold" in message


FOREIGN = {
    "OFT": "lora_unet_x.oft_blocks",
    "GLoRA": "lora_unet_x.a1.weight",
    "normalisation-layer": "lora_unet_x.w_norm",
    "sparse-difference": "lora_unet_x.bias_indices",
    "biased LoRA": "unet.x.lora_B.bias",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_kinds_that_are_not_supported_yet(kind: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, {**GOOD, FOREIGN[kind]: ones(2, 2)})
    assert f"is a {kind} file" in message
    assert FOREIGN[kind] in message


def test_a_whole_checkpoint(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"model.diffusion_model.out.2.bias": ones(4)})
    assert "is a whole checkpoint, not a LoRA" in message


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[1]",
        '"text"',
        json.dumps({"unet.lora_alpha": "NaN"}),
        json.dumps({"unet.lora_alpha": float("nan")}),
        json.dumps({"unet.lora_alpha": True}),
        json.dumps({"unet.lora_alpha": 1, "unet.alpha_pattern": ["x"]}),
        json.dumps({"unet.lora_alpha": 1, "unet.alpha_pattern": {"(a+)+$": 1}}),
        json.dumps({"unet.lora_alpha": 1, "unet.r": 0}),
        json.dumps({"unet.alpha": 1, "unet.r": -4}),
        json.dumps({"unet.alpha": 1, "unet.rank_pattern": {"x": -2}}),
        "[" * 100_000,
    ],
)
def test_peft_config_that_makes_no_sense(config: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD, {"lora_adapter_metadata": config})
    assert "is no PEFT LoRA config" in message
