"""LoRAs for other model families, by the keys that people's files have, through the command."""

from pathlib import Path

import numpy as np
import pytest

from exporter.__main__ import app
from exporter.blend import read_mixture
from runtime.bundle import Bundle
from runtime.commands import run
from runtime.packs import make_pack
from runtime.tensors import read_tensors, write_tensors
from tests.exporter.test_staging import listing

EITHER = "Stable Diffusion 3 or FLUX"
KOHYA, DIFFUSERS = ("lora_down", "lora_up"), ("lora_A", "lora_B")
# file -> what it is said to be, names of down and up, some module keys as in such files
FILES: dict[str, tuple[str, tuple[str, str], list[str]]] = {
    "SDXL, kohya": (
        "SDXL",
        KOHYA,
        [
            "lora_te1_text_model_encoder_layers_0_mlp_fc1",
            "lora_te2_text_model_encoder_layers_31_self_attn_q_proj",
            "lora_unet_input_blocks_4_1_proj_in",
            "lora_unet_input_blocks_7_1_transformer_blocks_9_ff_net_0_proj",
        ],
    ),
    "SDXL, diffusers": (
        "SDXL",
        DIFFUSERS,
        [
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
            "unet.down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_out.0",
            "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj",
        ],
    ),
    "SD3, kohya": (
        "Stable Diffusion 3",
        KOHYA,
        [
            "lora_unet_joint_blocks_0_context_block_attn_qkv",
            "lora_unet_joint_blocks_23_x_block_mlp_fc1",
            "lora_te3_encoder_block_0_layer_0_SelfAttention_q",
        ],
    ),
    "SD3, diffusers": (
        EITHER,
        DIFFUSERS,
        [
            "transformer.transformer_blocks.0.attn.to_q",
            "transformer.transformer_blocks.23.attn.add_k_proj",
        ],
    ),
    "FLUX, kohya": (
        "FLUX",
        KOHYA,
        [
            "lora_te1_text_model_encoder_layers_0_mlp_fc1",
            "lora_unet_double_blocks_0_img_attn_qkv",
            "lora_unet_single_blocks_37_linear1",
        ],
    ),
    "FLUX, diffusers": (
        "FLUX",
        DIFFUSERS,
        [
            "transformer.transformer_blocks.0.attn.to_q",
            "transformer.single_transformer_blocks.37.proj_mlp",
        ],
    ),
    "FLUX, its double blocks alone": (
        EITHER,
        DIFFUSERS,
        [
            "transformer.transformer_blocks.1.attn.to_q",
            "transformer.transformer_blocks.18.ff_context.net.0.proj",
        ],
    ),
    "FLUX, OneTrainer": (
        EITHER,
        KOHYA,
        ["lora_transformer_transformer_blocks_1_attn_to_q"],
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_the_family_is_said(
    kind: str,
    bundle: Bundle,
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    family, (down, up), keys = FILES[kind]
    path = tmp_path / "foreign.safetensors"
    tensors = {}
    for key in keys:
        tensors[f"{key}.{down}.weight"] = np.ones((4, 64), np.float16)
        tensors[f"{key}.{up}.weight"] = np.ones((64, 4), np.float16)
    write_tensors(path, tensors, {})
    before = listing(bundle.folder)
    request = ["export", "--lora", path, "--base", tiny_base, "--out", bundle.folder]
    monkeypatch.setattr("sys.argv", ["exporter", *map(str, request)])
    with pytest.raises(SystemExit) as ended:
        run(app)
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert f"{path}: is a LoRA for {family}, whose layers this base does not have" in line
    assert "the base here is tiny (" in line
    assert listing(bundle.folder) == before


def test_key_styles_may_be_mixed_in_one_file(
    bundle: Bundle, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    """As tools that join files leave them: each key is understood by itself."""
    tensors, metadata = read_tensors(tiny_loras["wobble"])
    paths = {slot.aliases[0]: slot.name for slot in bundle.slot_table().slots}
    mixed = {}
    for number, (module, name) in enumerate(sorted(paths.items())):
        for part, other in (("lora_down.weight", "lora_A"), ("lora_up.weight", "lora_B")):
            if f"{module}.{part}" not in tensors:
                continue
            if number % 2:
                scale = 0.5 if other == "lora_B" else 1.0  # alpha / rank, which diffusers has not
                mixed[f"unet.{name}.{other}.weight"] = tensors[f"{module}.{part}"] * scale
            else:
                mixed[f"{module}.{part}"] = tensors[f"{module}.{part}"]
                mixed[f"{module}.alpha"] = tensors[f"{module}.alpha"]
    assert {key.split(".")[0][:4] for key in mixed} == {"unet", "lora"}
    halves = {key: array.astype(np.float16) for key, array in mixed.items()}
    write_tensors(tmp_path / "mixed.safetensors", halves, metadata)
    names = {"base_hash": "0" * 64, "base_name": "tiny", "name": "x", "title": "X"}
    packs = [
        make_pack(read_mixture(path).stacked(), *bundle.slot_tables(), **names)
        for path in (tiny_loras["wobble"], tmp_path / "mixed.safetensors")
    ]
    assert packs[0].tensors.keys() == packs[1].tensors.keys()
    for name, array in packs[0].tensors.items():
        assert (packs[1].tensors[name] == array).all()
