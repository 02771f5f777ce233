"""From tensors to modules: which parts make a kind, and what is said where they do not."""

import numpy as np
import pytest
import torch

from runtime._lora_parts import KINDS, modules_of
from runtime.adapters import Adapter, BiasedModule, DoraModule, FullModule, Ia3Module, LoraModule
from runtime.errors import BadFile
from runtime.products import LohaModule, LokrModule
from tests.runtime.conftest import normals

some = normals(7)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def module(**parts: np.ndarray) -> Adapter:
    """The module `m` of a file, its suffixes with `_` for dots where that is their name."""
    return modules_of({f"m.{name}": array for name, array in parts.items()}, "f")["m"]


LORA = {"lora_A.weight": some(2, 5), "lora_B.weight": some(6, 2)}
HADA = {f"hada_w{half}_{side}": some(*((6, 2) if side == "a" else (2, 5)))
        for half in "12" for side in "ab"}  # fmt: skip


def test_each_kind_is_built_from_its_parts() -> None:
    found = modules_of(
        {
            "a.lora_down.weight": some(2, 5),
            "a.lora_up.weight": some(6, 2),
            "a.alpha": number(1),
            "a.scalar": number(0.5),
            **{f"b.{name}": array for name, array in HADA.items()},
            "c.lokr_w1": some(2, 3),
            "c.lokr_w2_a": some(4, 2),
            "c.lokr_w2_b": some(2, 5),
            "d.weight": some(6),
            "d.on_input": number(0),
            "e.ia3_l": some(6, 1),
            "f.diff": some(6, 5),
            "f.diff_b": some(6),
            "g.lora_A.weight": some(2, 5),
            "g.lora_B.weight": some(6, 2),
            "g.lora_magnitude_vector": some(6),
        },
        "f",
    )
    kinds = [LoraModule, LohaModule, LokrModule, Ia3Module, Ia3Module, BiasedModule, DoraModule]
    assert [type(found[key]) for key in "abcdefg"] == kinds
    assert isinstance(lora := found["a"], LoraModule)
    assert (lora.alpha, lora.scalar, lora.rank, lora.ins, lora.outs) == (1, 0.5, 2, 5, 6)
    assert isinstance(peft := found["e"], Ia3Module)
    assert peft.scales_bias
    assert isinstance(biased := found["f"], BiasedModule)
    assert isinstance(biased.change, FullModule)


def test_a_tucker_core_is_folded_in_as_three_convolutions_would_compute() -> None:
    down, core, up = some(2, 4, 1, 1), some(2, 2, 3, 3), some(6, 2, 1, 1)
    found = module(**{"lora_down.weight": down, "lora_mid.weight": core, "lora_up.weight": up})
    x = torch.from_numpy(some(1, 4, 5, 5))
    expected = x
    for weight in (down, core, up):
        expected = torch.nn.functional.conv2d(expected, torch.from_numpy(weight))
    merged = torch.from_numpy(found.apply(np.zeros((6, 4, 3, 3), np.float32), 1))
    actual = torch.nn.functional.conv2d(x, merged)
    assert actual.numpy() == pytest.approx(expected.numpy(), abs=1e-4)


def test_a_vector_of_peft_is_the_whole_factor() -> None:
    weight, vector = some(6, 5), some(6, 1)
    assert module(ia3_l=vector).apply(weight, 1) == pytest.approx(weight * vector, abs=1e-5)


def test_a_bias_of_zeros_is_no_bias() -> None:
    assert isinstance(module(diff=some(6, 5), diff_b=np.zeros(6, np.float32)), FullModule)


@pytest.mark.parametrize(
    ("scale", "axis"),
    [((6, 1), "out"), ((1, 5), "in"), ((6, 1, 1, 1), "out"), ((1, 4, 1, 1), "in")],
)
def test_the_axis_of_lycoris_magnitudes_shows_in_their_shape(
    scale: tuple[int, ...], axis: str
) -> None:
    found = module(**LORA, dora_scale=some(*scale))
    assert isinstance(found, DoraModule)
    assert (found.axis, found.magnitude.shape) == (axis, (int(np.prod(scale)),))


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        ({}, "has no tensors"),
        ({"m.lora_sideways": some(1)}, "1 key is not part of any LoRA module: m.lora_sideways"),
        ({"m.lora_A.weight": some(2, 5)}, r"1 module is not whole.*m has only \.lora_A\.weight"),
        ({"m.alpha": number(1)}, r"m has only \.alpha"),
        (
            {"m.lora_A.weight": some(2, 5), "m.lora_down.weight": some(2, 5)},
            r"m\.lora_A\.weight and m\.lora_down\.weight say the same thing twice",
        ),
        (
            {f"m.{name}": array for name, array in (LORA | {"diff": some(6, 5)}).items()},
            "m mixes LoRA and full difference",
        ),
        (
            {"m.weight": some(6), "m.on_input": number(0), "m.alpha": number(1)},
            r"m has \.alpha beside \(IA\)\^3",
        ),
    ],
)
def test_parts_that_make_no_module_are_named(
    tensors: dict[str, np.ndarray], complaint: str
) -> None:
    with pytest.raises(BadFile, match=complaint) as told:
        modules_of(tensors, "style.safetensors")
    assert told.value.where == "style.safetensors"
    assert told.value.todo


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        (LORA | {"lora_B.weight": some(6, 3)}, "LoRA"),
        (LORA | {"lora_A.weight": np.ones((2, 5), np.int64)}, "LoRA"),
        (LORA | {"lora_magnitude_vector": some(5)}, "LoRA"),
        (LORA | {"lora_magnitude_vector": some(6), "dora_scale": some(6, 1)}, "LoRA"),
        (LORA | {"dora_scale": some(2, 3)}, "LoRA"),
        (
            {
                "lora_down.weight": some(2, 4),
                "lora_up.weight": some(6, 2),
                "lora_mid.weight": some(2, 2, 1000, 1000),
            },
            "LoRA",
        ),
        (HADA | {"hada_w2_b": some(2, 6)}, "LoHa"),
        ({"lokr_w1": some(2, 3), "lokr_w2": some(4, 5, 7, 7)}, "LoKr"),
        (
            {
                "lokr_w1_a": some(2, 2),
                "lokr_w1_b": some(2, 3),
                "lokr_w2_a": some(4, 3),
                "lokr_w2_b": some(3, 5),
            },
            "LoKr",
        ),
        ({"weight": some(6), "on_input": number(2)}, "(IA)^3"),
        ({"ia3_l": some(1, 6, 1, 1)}, "PEFT (IA)^3"),
        ({"diff": some(6, 4, 5, 5)}, "full difference"),
    ],
)
def test_shapes_that_do_not_fit_are_told_beside_those_that_would(
    parts: dict[str, np.ndarray], kind: str
) -> None:
    with pytest.raises(BadFile) as told:
        module(**parts)
    assert f"are no {kind}, which is {KINDS[kind].shapes}" in str(told.value)


@pytest.mark.parametrize("name", ["alpha", "scalar"])
def test_numbers_are_one_number(name: str) -> None:
    with pytest.raises(BadFile, match=rf"module m: {name} has the shape \[2\], not one number"):
        module(**LORA, **{name: some(2)})


def test_a_bias_is_a_vector_of_floats() -> None:
    with pytest.raises(BadFile, match=r"diff_b of the shape \[6, 1\] is no \[out\] of floats"):
        module(diff=some(6, 5), diff_b=some(6, 1))
