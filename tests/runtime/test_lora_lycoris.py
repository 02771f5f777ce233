"""Every kind of file as the `lycoris-lora` package writes it, against its own merge."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from lycoris.wrapper import LycorisNetwork

from runtime.adapters import Adapter, DoraModule, LoraModule
from runtime.errors import LISTED, BrushletError
from runtime.lora import match_adapters, match_slots, read_lora
from runtime.manifest import SlotTable
from runtime.products import Factors, LohaModule, LokrModule
from tests.lycoris import lycoris_biases, lycoris_merged, lycoris_network
from tests.runtime.conftest import TARGETS, slot

STRENGTHS = (-0.5, 0.0, 0.7, 1.3)
# The transformer slot set, and 3x3 convolutions of both widths and both strides.
CONVOLUTIONS = [r".*resnets\.0\.conv1", r".*resnets\.0\.conv_shortcut", r".*samplers\.0\.conv"]
LAYERS = [rf".*attentions.*{target}".replace(".0", r"\.0") for target in TARGETS]

# The options of `LycorisNetwork` for each kind; rank 2, as 3x3 at rank^2 has 16 of 32 columns.
OPTIONS: dict[str, dict[str, Any]] = {
    "LoCon": {"network_module": "locon"},
    "LoCon with a Tucker core": {"network_module": "locon", "use_tucker": True},
    "LoCon with a scalar": {"network_module": "locon", "use_scalar": True},
    "rsLoRA": {"network_module": "locon", "rs_lora": True},
    "LoHa": {"network_module": "loha"},
    "LoHa with Tucker cores": {"network_module": "loha", "use_tucker": True},
    "LoKr": {"network_module": "lokr"},
    "LoKr with a Tucker core": {"network_module": "lokr", "use_tucker": True},
    "LoKr, both decomposed": {"network_module": "lokr", "decompose_both": True},
    "LoKr of factor 2": {"network_module": "lokr", "factor": 2},
    "LoKr with full matrices": {"network_module": "lokr", "full_matrix": True},
    "DoRA": {"network_module": "locon", "weight_decompose": True},
    "DoRA over inputs": {
        "network_module": "locon",
        "weight_decompose": True,
        "wd_on_out": False,
    },
    "DoRA with a Tucker core": {
        "network_module": "locon",
        "weight_decompose": True,
        "use_tucker": True,
    },
    "DoHa": {"network_module": "loha", "weight_decompose": True},
    "DoKr over inputs": {"network_module": "lokr", "weight_decompose": True, "wd_on_out": False},
    "(IA)^3 on outputs": {"network_module": "ia3"},
    "(IA)^3 on inputs": {"network_module": "ia3", "train_on_input": True},
    "full": {"network_module": "full"},
}
EXTERNAL = [name for name in OPTIONS if name.startswith(("LoCon", "rsLoRA", "LoHa"))]
EXTERNAL += ["LoKr of factor 2"]
MERGED_ONLY = [name for name in OPTIONS if name.startswith(("Do", "(IA)", "full"))]


@pytest.fixture(scope="module")
def everything(tiny_base: Path) -> SlotTable:
    """Every Linear and convolution of the tiny UNet that `LAYERS` and `CONVOLUTIONS` name."""
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet", torch_dtype=torch.float32)
    slots = []
    for path, module in unet.named_modules():
        if ("attentions" in path and path.endswith(TARGETS)) or path.endswith(
            ("resnets.0.conv1", "resnets.0.conv_shortcut", "samplers.0.conv")
        ):
            slots.append(slot(path, module))
    return SlotTable(slot_set="full", slots=slots)


def network(unet: UNet2DConditionModel, alpha: float = 2, **options: Any) -> LycorisNetwork:
    """A network of rank 2 with random weights on the UNet."""
    torch.manual_seed(2)
    return lycoris_network(unet, [*LAYERS, *CONVOLUTIONS], rank=2, alpha=alpha, **options)


def read(lycoris: LycorisNetwork, path: Path, table: SlotTable) -> dict[str, Adapter]:
    """What we read of the file that LyCORIS saves."""
    lycoris.save_weights(path, None, {})
    found = match_adapters(read_lora(path), table)
    assert len(found) == len(table.slots) == len(lycoris.loras)
    return found


def weights(unet: UNet2DConditionModel) -> dict[str, np.ndarray]:
    return {name: weight.numpy().copy() for name, weight in unet.state_dict().items()}


def assert_close(found: np.ndarray, expected: np.ndarray, base: np.ndarray) -> None:
    """Float32 sums in another order: 2e-6 was measured."""
    assert found.dtype == np.float32
    scale = max(np.abs(expected).max(), np.abs(base).max())
    assert np.abs(found - expected).max() <= 1e-5 * scale


@pytest.mark.parametrize("kind", OPTIONS)
def test_merging_is_what_lycoris_merges(
    kind: str, tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    base = weights(tiny_unet)
    # Alpha is the rank: LyCORIS' merge counts alpha / rank twice for LoHa and LoKr, see below.
    lycoris = network(tiny_unet, alpha=2, **OPTIONS[kind])
    adapters = read(lycoris, tmp_path / "l.safetensors", everything)
    whole = lycoris_merged(lycoris, 1.0)
    for strength in STRENGTHS:
        merged = lycoris_merged(lycoris, strength)
        for entry in everything.slots:
            weight, expected = base[f"{entry.name}.weight"], merged[entry.aliases[0]]
            if isinstance(adapters[entry.name], DoraModule):
                # Its strength is another one, see below; its merge at 1 is the meaning of the file.
                expected = weight + strength * (whole[entry.aliases[0]] - weight)
            assert_close(adapters[entry.name].apply(weight, strength), expected, weight)


@pytest.mark.parametrize("kind", EXTERNAL)
def test_the_low_rank_form_is_the_difference(
    kind: str, tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    base = weights(tiny_unet)
    lycoris = network(tiny_unet, alpha=2, **OPTIONS[kind])
    read(lycoris, tmp_path / "l.safetensors", everything)
    found = match_slots(read_lora(tmp_path / "l.safetensors"), everything)
    merged = lycoris_merged(lycoris, 1.0)
    for entry in everything.slots:
        adapter, weight = found[entry.name], base[f"{entry.name}.weight"]
        assert adapter.A.shape[0] == entry.in_width
        assert adapter.A.shape[1] < min(entry.in_width, entry.out_width)
        flat = weight.reshape(entry.out_width, -1).T + adapter.A @ adapter.B
        assert_close(flat, merged[entry.aliases[0]].reshape(entry.out_width, -1).T, weight)


@pytest.mark.parametrize("kind", MERGED_ONLY)
def test_kinds_without_one_say_which_modules(
    kind: str, tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    lycoris = network(tiny_unet, **OPTIONS[kind])
    read(lycoris, tmp_path / "l.safetensors", everything)
    with pytest.raises(BrushletError, match="MODE=merged") as caught:
        match_slots(read_lora(tmp_path / "l.safetensors"), everything)
    count = len(everything.slots)
    assert f"{count} of {count} modules" in str(caught.value)
    reasons = [
        (names.split(", "), int(more))
        for names, more in re.findall(r"\(([^()]+) and (\d+) more\)", str(caught.value))
    ]
    assert sum(len(names) + more for names, more in reasons) == count
    assert all(len(names) == LISTED for names, _ in reasons)
    assert {name for names, _ in reasons for name in names} < {s.name for s in everything.slots}


def test_lokr_is_external_where_its_ranks_stay_low(
    tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    ranks = {}
    for kind in ("LoKr", "LoKr with full matrices"):
        lycoris = network(tiny_unet, **OPTIONS[kind])
        adapters = read(lycoris, tmp_path / "l.safetensors", everything)
        lycoris.restore()
        form = adapters["mid_block.attentions.0.transformer_blocks.0.attn1.to_q"].low_rank()
        ranks[kind] = form and form.A.shape[1]  # of 64 x 64 = (8 x 8) kron (8 x 8)
    assert ranks == {"LoKr": 8 * 2, "LoKr with full matrices": None}
    with pytest.raises(BrushletError, match="MODE=merged") as caught:
        match_slots(read_lora(tmp_path / "l.safetensors"), everything)
    assert "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q" in str(caught.value)


@pytest.mark.parametrize(("ins", "outs"), [(32, 4), (4, 32)])
def test_narrow_layers_give_their_matrix(ins: int, outs: int) -> None:
    """`conv_out` and `conv_in` are in LyCORIS' default preset, and may not stop the others."""
    random = np.random.default_rng(0)
    shapes = [(outs, 3), (3, ins), (outs, 3), (3, ins)]
    parts = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    adapters = [
        LohaModule(*parts, alpha=1),
        LokrModule(
            Factors(parts[0][:2, :2]), Factors(random.normal(size=(outs // 2, ins // 2))), 1
        ),
    ]
    for adapter in adapters:
        form = adapter.low_rank()
        assert form is not None
        assert form.A.shape == (ins, 4)
        np.testing.assert_allclose((form.A @ form.B).T, adapter.delta(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["LoCon", "LoHa", "LoKr", "rsLoRA", "DoRA"])
def test_alpha_counts_once_as_in_lycoris_forward(
    kind: str, tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    base = weights(tiny_unet)
    lycoris = network(tiny_unet, alpha=1, **OPTIONS[kind])
    adapters = read(lycoris, tmp_path / "l.safetensors", everything)
    wrong = 0
    for module in lycoris.loras:
        if module.module_type != "linear":
            continue
        entry = next(slot for slot in everything.slots if module.lora_name in slot.aliases)
        weight = base[f"{entry.name}.weight"]
        layer = module.org_module[0]
        with torch.no_grad():
            output = module(torch.eye(layer.in_features))
            outputs = output if layer.bias is None else output - layer.bias
        expected = outputs.T.numpy()
        assert_close(adapters[entry.name].apply(weight, 1.0), expected, weight)
        merged = module.get_merged_weight(1.0, module.shape)[0].detach().numpy()
        wrong += not np.allclose(merged, expected, atol=1e-4)
    assert bool(wrong) == (kind in ("LoHa", "LoKr"))  # their merge; if it is right now, say so


@pytest.mark.parametrize("kind", ["DoRA", "DoRA over inputs"])
def test_dora_of_strength_zero_is_the_base_here_and_not_in_lycoris(
    kind: str, tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    base = weights(tiny_unet)
    lycoris = network(tiny_unet, **OPTIONS[kind])
    adapters = read(lycoris, tmp_path / "l.safetensors", everything)
    merged = lycoris_merged(lycoris, 0.0)
    for entry in everything.slots:
        adapter, weight = adapters[entry.name], base[f"{entry.name}.weight"]
        assert isinstance(adapter, DoraModule)
        np.testing.assert_array_equal(adapter.apply(weight, 0.0), weight)
        undecomposed = adapter.change.apply(weight, 1.0)
        assert_close(undecomposed, merged[entry.aliases[0]], weight)
        assert np.abs(undecomposed - weight).max() > 0.01


@pytest.mark.parametrize("strength", STRENGTHS)
def test_biases_are_merged_as_lycoris_merges_them(
    strength: float, tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    base = weights(tiny_unet)
    lycoris = network(tiny_unet, **OPTIONS["full"])
    adapters = read(lycoris, tmp_path / "l.safetensors", everything)
    merged = lycoris_biases(lycoris, strength)
    found = {slot.aliases[0]: slot.name for slot in everything.slots}
    assert {name for name in found if adapters[found[name]].touches_bias} == merged.keys()
    for name, bias in merged.items():
        before = base[f"{found[name]}.bias"]
        assert np.abs(adapters[found[name]].apply_bias(before, strength) - bias).max() <= 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["LoCon", "LoHa", "LoKr", "DoRA", "(IA)^3 on inputs", "full"])
def test_half_precision_files(
    kind: str,
    dtype: torch.dtype,
    tiny_unet: UNet2DConditionModel,
    everything: SlotTable,
    tmp_path: Path,
) -> None:
    base = weights(tiny_unet)
    lycoris = network(tiny_unet, **OPTIONS[kind])
    merged = lycoris_merged(lycoris, 1.0)
    lycoris.save_weights(tmp_path / "l.safetensors", dtype, {})
    for name, adapter in match_adapters(read_lora(tmp_path / "l.safetensors"), everything).items():
        weight = base[f"{name}.weight"]
        expected = merged[f"lora_unet_{name.replace('.', '_')}"]
        error = np.abs(adapter.apply(weight, 1.0) - expected).max()
        assert error <= 4 * torch.finfo(dtype).eps * np.abs(expected).max()


def test_ranks_and_alphas_are_those_of_the_file(
    tiny_unet: UNet2DConditionModel, everything: SlotTable, tmp_path: Path
) -> None:
    for kind, expected in {"LoCon": LoraModule, "LoHa": LohaModule, "LoKr": LokrModule}.items():
        lycoris = network(tiny_unet, alpha=1, **OPTIONS[kind])
        found = read(lycoris, tmp_path / "l.safetensors", everything).values()
        lycoris.restore()
        assert all(isinstance(adapter, expected) for adapter in found)
        assert {adapter.rank for adapter in found} <= {2, None}
        assert all(adapter.alpha == 1 for adapter in found if adapter.rank)
