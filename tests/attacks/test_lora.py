"""One test per way in which a LoRA file can be wrong though its safetensors are right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.errors import BadFile, BrushletError, WrongBase
from runtime.lora import match_slots, read_lora
from runtime.manifest import Slot, SlotTable, WeightPlace
from runtime.packs import make_pack
from runtime.tensors import write_tensors

DOWN, UP = "lora_unet_x.lora_down.weight", "lora_unet_x.lora_up.weight"
PLACE = WeightPlace(shard="0", offset=0, shape=[4, 3], dtype="float16", transposed=False)
TABLE = SlotTable(
    slot_set="attn",
    slots=[
        Slot(
            name="x",
            kind="linear",
            in_width=3,
            out_width=4,
            input_a="x.lora_A",
            input_b="x.lora_B",
            aliases=["lora_unet_x", "unet.x"],
            weight=PLACE,
        )
    ],
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


@pytest.mark.parametrize("key", [DOWN, UP])
def test_half_a_module(key: str, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in GOOD.items() if name != key}
    assert "1 module is without both down and up: lora_unet_x" in refusal(tmp_path, tensors)


def test_alpha_alone(tmp_path: Path) -> None:
    tensors = {**GOOD, "lora_unet_y.alpha": ones(1)}
    assert "without both down and up: lora_unet_y" in refusal(tmp_path, tensors)


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
    assert "are not [rank, in] and [out, rank]" in message


@pytest.mark.parametrize(("down", "up"), [((2, 5), (4, 2)), ((2, 3), (7, 2))])
def test_widths_of_another_base(down: Any, up: Any, tmp_path: Path) -> None:
    message = refusal(tmp_path, {DOWN: ones(*down), UP: ones(*up)}, kind=WrongBase)
    assert f"lora_unet_x is {down[1]} -> {up[0]} where the base has 3 -> 4" in message


def test_alpha_that_is_no_number(tmp_path: Path) -> None:
    assert "alpha has the shape [2]" in refusal(tmp_path, {**GOOD, "lora_unet_x.alpha": ones(2)})


@pytest.mark.parametrize("alpha", [1e38, 1e300])
def test_alpha_beyond_float32(alpha: float, tmp_path: Path) -> None:
    tensors = {DOWN: ones(2, 3), UP: ones(4, 2) * 1000, "lora_unet_x.alpha": np.array(alpha)}
    assert "more than a float32 holds" in refusal(tmp_path, tensors)


def test_values_beyond_fp16(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**GOOD, "lora_unet_x.alpha": np.array(1e6)})
    assert "the LoRA of x reaches 5e+05, which fp16 cannot hold" in message


KINDS = {
    "LoHa": "lora_unet_x.hada_w1_a",
    "LoKr": "lora_unet_x.lokr_w1",
    "DoRA": "lora_unet_x.dora_scale",
    "IA3": "lora_unet_x.on_input",
    "full-difference": "lora_unet_x.diff",
    "OFT": "lora_unet_x.oft_blocks",
    "GLoRA": "lora_unet_x.a1.weight",
    "Tucker-core LoRA": "lora_unet_x.lora_mid.weight",
    "biased LoRA": "unet.x.lora_B.bias",
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_are_not_supported_yet(kind: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, {**GOOD, KINDS[kind]: ones(2, 2)})
    assert f"is a {kind} file" in message
    assert KINDS[kind] in message


def test_convolutions_are_not_supported_yet(tmp_path: Path) -> None:
    message = refusal(tmp_path, {DOWN: ones(2, 3, 3, 3), UP: ones(4, 2, 1, 1)})
    assert "adapts 3x3 convolutions (LoCon" in message


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
        "[" * 100_000,
    ],
)
def test_peft_config_that_makes_no_sense(config: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD, {"lora_adapter_metadata": config})
    assert "is no PEFT LoRA config" in message
