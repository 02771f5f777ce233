import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

from exporter.slots import aliases
from runtime.errors import BadFile, UnmatchedKeys, WrongBase
from runtime.lora import LowRank, match_slots, read_lora
from runtime.manifest import SlotTable
from tests.runtime.conftest import TARGETS

State = dict[str, torch.Tensor]
RANK, ALPHA = 4, 2


@pytest.fixture
def adapted(tiny_unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The tiny UNet with a random PEFT LoRA."""
    torch.manual_seed(1)
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, init_lora_weights=False, target_modules=list(TARGETS)
    )
    tiny_unet.add_adapter(config)
    return tiny_unet


def deltas(unet: UNet2DConditionModel) -> dict[str, np.ndarray]:
    """What PEFT adds to each weight, [out, in]."""
    return {
        path: module.get_delta_weight("default").detach().flatten(1).numpy()
        for path, module in unet.named_modules()
        if hasattr(module, "get_delta_weight")
    }


def fused(base: Path, lora: Path) -> dict[str, np.ndarray]:
    """What diffusers adds to each weight when it loads and fuses the file."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)
    before = {name: weight.clone() for name, weight in pipeline.unet.state_dict().items()}
    pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    after = pipeline.unet.state_dict()
    return {
        name.removesuffix(".weight"): (after[name] - before[name]).flatten(1).numpy()
        for name in before
        if not torch.equal(after[name], before[name])
    }


def assert_same(found: dict[str, LowRank], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for path, delta in expected.items():
        ours = (found[path].A @ found[path].B).T
        assert np.abs(ours - delta).max() <= 1e-5 * np.abs(delta).max()  # a float32 matrix product


def read(path: Path, table: SlotTable) -> dict[str, LowRank]:
    return match_slots(read_lora(path), table)


def kohya(path: str) -> str:
    return f"lora_unet_{path.replace('.', '_')}"


def processor(path: str) -> str:
    for projection in ("to_q", "to_k", "to_v", "to_out.0"):
        if path.endswith(f".{projection}"):
            name = projection.removesuffix(".0")
            return f"{path.removesuffix(projection)}processor.{name}_lora"
    raise AssertionError(path)


# style -> (module path -> key before the suffix, names of down and up)
STYLES: dict[str, tuple[Callable[[str], str], str, str]] = {
    "kohya": (kohya, ".lora_down.weight", ".lora_up.weight"),
    "diffusers": (lambda p: f"unet.{p}", ".lora.down.weight", ".lora.up.weight"),
    "diffusers with PEFT names": (lambda p: f"unet.{p}", ".lora_A.weight", ".lora_B.weight"),
    "PEFT": (lambda p: f"base_model.model.{p}", ".lora_A.weight", ".lora_B.weight"),
    "PEFT state dict": (
        lambda p: f"base_model.model.{p}",
        ".lora_A.default.weight",
        ".lora_B.default.weight",
    ),
    "attention processors": (processor, ".down.weight", ".up.weight"),
}


def in_style(unet: UNet2DConditionModel, style: str, alphas: bool) -> State:
    name, down, up = STYLES[style]
    tensors: State = {}
    for key, tensor in get_peft_model_state_dict(unet).items():
        path, _, part = key.partition(".lora_")
        if style == "attention processors" and ".attn" not in path:
            continue
        tensors[name(path) + (down if part == "A.weight" else up)] = tensor.contiguous()
        if alphas and part == "A.weight":
            tensors[f"{name(path)}.alpha"] = torch.tensor(float(ALPHA))
    return tensors


@pytest.mark.parametrize("style", [style for style in STYLES if style != "attention processors"])
def test_every_key_style_means_the_same_lora(
    style: str, adapted: UNet2DConditionModel, table: SlotTable, tmp_path: Path
) -> None:
    save_file(in_style(adapted, style, alphas=True), tmp_path / "lora.safetensors")
    assert_same(read(tmp_path / "lora.safetensors", table), deltas(adapted))


def test_old_attention_processors(
    adapted: UNet2DConditionModel, table: SlotTable, tmp_path: Path
) -> None:
    save_file(in_style(adapted, "attention processors", alphas=False), tmp_path / "l.safetensors")
    expected = {
        path: delta * RANK / ALPHA for path, delta in deltas(adapted).items() if ".attn" in path
    }
    assert_same(read(tmp_path / "l.safetensors", table), expected)


@pytest.mark.parametrize(
    ("style", "alphas"),
    [
        ("kohya", True),
        ("kohya", False),
        ("diffusers", False),  # diffusers refuses its own names with alphas
        ("diffusers with PEFT names", False),
    ],
)
def test_a_file_means_what_diffusers_makes_of_it(
    style: str,
    alphas: bool,
    adapted: UNet2DConditionModel,
    table: SlotTable,
    tiny_base: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "lora.safetensors"
    save_file(in_style(adapted, style, alphas), path, {"format": "pt"})
    found, expected = read(path, table), fused(tiny_base, path)
    assert set(found) == set(expected)
    for name, delta in expected.items():
        ours = (found[name].A @ found[name].B).T
        assert np.abs(ours - delta).max() <= 1e-6  # difference of two float32 weights up to 1


@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_diffusers_files_with_the_alpha_in_their_metadata(
    rank_stabilised: bool, tiny_unet: UNet2DConditionModel, table: SlotTable, tmp_path: Path
) -> None:
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        alpha_pattern={"down_blocks.0.attentions.0.proj_in": 7, "to_out.0": 5},
        rank_pattern={"to_k": 2},
        use_rslora=rank_stabilised,
        init_lora_weights=False,
        target_modules=list(TARGETS),
    )
    tiny_unet.add_adapter(config)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(tiny_unet),
        **_collate_lora_metadata({"unet": tiny_unet}),
    )
    assert_same(read(tmp_path / "pytorch_lora_weights.safetensors", table), deltas(tiny_unet))


def test_peft_folders_with_the_alpha_in_their_config(
    tiny_unet: UNet2DConditionModel, table: SlotTable, tmp_path: Path
) -> None:
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, init_lora_weights=False, target_modules=list(TARGETS)
    )
    model = get_peft_model(tiny_unet, config)
    model.save_pretrained(tmp_path)
    assert_same(read(tmp_path / "adapter_model.safetensors", table), deltas(model.base_model.model))


def test_half_and_bfloat16_files_are_widened(
    adapted: UNet2DConditionModel, table: SlotTable, tmp_path: Path
) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        state = {k: v.to(dtype) for k, v in in_style(adapted, "kohya", alphas=True).items()}
        save_file(state, tmp_path / "lora.safetensors")
        found = read(tmp_path / "lora.safetensors", table)
        for path, delta in deltas(adapted).items():
            assert found[path].A.dtype == np.float32
            error = np.abs((found[path].A @ found[path].B).T - delta).max()
            assert error <= 2 * torch.finfo(dtype).eps * np.abs(delta).max()


def test_a_linear_layer_kept_as_a_1x1_convolution(
    adapted: UNet2DConditionModel, table: SlotTable, tmp_path: Path
) -> None:
    state = {
        key: tensor if tensor.ndim != 2 else tensor[:, :, None, None].contiguous()
        for key, tensor in in_style(adapted, "kohya", alphas=True).items()
    }
    save_file(state, tmp_path / "lora.safetensors")
    assert_same(read(tmp_path / "lora.safetensors", table), deltas(adapted))


def test_a_module_without_alpha_among_others(
    adapted: UNet2DConditionModel, table: SlotTable, tmp_path: Path
) -> None:
    state = in_style(adapted, "kohya", alphas=True)
    path = table.slots[3].name
    del state[f"{kohya(path)}.alpha"]  # alpha = rank, as kohya's scripts read it
    save_file(state, tmp_path / "lora.safetensors")
    expected = deltas(adapted)
    expected[path] = expected[path] * RANK / ALPHA
    assert_same(read(tmp_path / "lora.safetensors", table), expected)


@pytest.mark.parametrize(
    ("original", "path"),
    [
        ("input_blocks_1_1_proj_in", "down_blocks.0.attentions.0.proj_in"),
        (
            "middle_block_1_transformer_blocks_0_ff_net_0_proj",
            "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
        ),
        (
            "output_blocks_3_1_transformer_blocks_0_attn2_to_out_0",
            "up_blocks.1.attentions.1.transformer_blocks.0.attn2.to_out.0",
        ),
    ],
)
def test_original_block_names(
    original: str,
    path: str,
    adapted: UNet2DConditionModel,
    table: SlotTable,
    tmp_path: Path,
) -> None:
    names = [
        entry.model_copy(update={"aliases": aliases(entry.name, adapted.config)})
        for entry in table.slots
    ]
    state = {
        key.replace(kohya(path), f"lora_unet_{original}"): tensor
        for key, tensor in in_style(adapted, "kohya", alphas=True).items()
        if key.startswith(f"{kohya(path)}.")
    }
    save_file(state, tmp_path / "lora.safetensors")
    found = read(tmp_path / "lora.safetensors", table.model_copy(update={"slots": names}))
    assert_same(found, {path: deltas(adapted)[path]})


def test_metadata_and_hash_are_kept(adapted: UNet2DConditionModel, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    save_file(in_style(adapted, "kohya", alphas=True), path, {"ss_output_name": "castle"})
    lora = read_lora(path)
    assert lora.metadata == {"ss_output_name": "castle"}
    assert len(lora.sha256) == 64


def test_modules_without_a_slot_are_all_listed(
    adapted: UNet2DConditionModel, table: SlotTable, tmp_path: Path
) -> None:
    state = in_style(adapted, "kohya", alphas=True)
    for name in ("lora_unet_nowhere", "lora_te_text_model_encoder_layers_99_mlp_fc1"):
        state |= {f"{name}.lora_down.weight": torch.ones(2, 3)}
        state |= {f"{name}.lora_up.weight": torch.ones(3, 2)}
    save_file(state, tmp_path / "lora.safetensors")
    with pytest.raises(UnmatchedKeys) as caught:
        read(tmp_path / "lora.safetensors", table)
    message = str(caught.value)
    assert f"2 of {len(table.slots) + 2} modules match no slot" in message
    assert "lora_unet_nowhere" in message
    assert "lora_te_text_model_encoder_layers_99_mlp_fc1" in message
    assert "1 of these adapt a text encoder, where this base's has no slot" in message


def test_of_many_modules_without_a_slot_the_first_are_named(
    table: SlotTable, tmp_path: Path
) -> None:
    state = {}
    for number in range(100):
        state |= {f"lora_unet_nowhere_{number:02}.lora_down.weight": torch.ones(2, 3)}
        state |= {f"lora_unet_nowhere_{number:02}.lora_up.weight": torch.ones(3, 2)}
    save_file(state, tmp_path / "lora.safetensors")
    with pytest.raises(UnmatchedKeys, match=r"100 of 100 .*nowhere_07 and 92 more - ") as caught:
        read(tmp_path / "lora.safetensors", table)
    assert len(str(caught.value)) < 500


FOREIGN = {
    "SDXL": "lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q",
    "FLUX": "transformer.single_transformer_blocks.0.attn.to_k",
    "Stable Diffusion 3": "lora_unet_joint_blocks_0_x_block_attn_qkv",
}


@pytest.mark.parametrize("family", FOREIGN)
def test_other_model_families_are_named(family: str, table: SlotTable, tmp_path: Path) -> None:
    name = FOREIGN[family]
    state = {f"{name}.lora_down.weight": torch.ones(2, 3)}
    state |= {f"{name}.lora_up.weight": torch.ones(3, 2)}
    save_file(state, tmp_path / "lora.safetensors")
    with pytest.raises(WrongBase, match=f"is a LoRA for {family}"):
        read(tmp_path / "lora.safetensors", table)


def test_the_family_in_the_metadata_counts_too(table: SlotTable, tmp_path: Path) -> None:
    state = {"lora_unet_x.lora_down.weight": torch.ones(2, 3)}
    state |= {"lora_unet_x.lora_up.weight": torch.ones(3, 2)}
    metadata = {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}
    save_file(state, tmp_path / "lora.safetensors", metadata)
    with pytest.raises(WrongBase, match="is a LoRA for SDXL"):
        read(tmp_path / "lora.safetensors", table)


def test_alpha_patterns_that_are_programs_are_refused(tmp_path: Path) -> None:
    state = {"unet.x.lora_A.weight": torch.ones(2, 3), "unet.x.lora_B.weight": torch.ones(3, 2)}
    config = {"unet.lora_alpha": 1, "unet.alpha_pattern": {"(a+)+$": 2}}
    path = tmp_path / "lora.safetensors"
    save_file(state, path, {"lora_adapter_metadata": json.dumps(config)})
    with pytest.raises(BadFile, match="not a plain module name"):
        read_lora(path)
