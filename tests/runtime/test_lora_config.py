"""PEFT's scales, held against PEFT's own layers where it makes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftConfig
from peft import get_peft_model

from runtime._lora_config import LoraConfig, read_configs
from runtime.errors import BadFile


def config_of(folder: Path, **fields: Any) -> LoraConfig:
    """What a PEFT folder with these fields says of its modules."""
    (folder / "adapter_config.json").write_text(json.dumps(fields))
    config = read_configs(folder / "adapter_model.safetensors", {})("any")
    assert config is not None
    return config


def test_scales_are_those_of_peft(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            names = ("to_q", "to_k", "to_v")
            self.attn = torch.nn.ModuleDict({name: torch.nn.Linear(16, 16) for name in names})

    for stabilised in (False, True):
        peft = PeftConfig(
            r=4,
            lora_alpha=3,
            use_rslora=stabilised,
            target_modules=["to_q", "to_k", "to_v"],
            rank_pattern={"to_k": 9},
            alpha_pattern={"attn.to_v": 5},
        )
        model = get_peft_model(Net(), peft)
        model.save_pretrained(tmp_path)
        ours = read_configs(tmp_path / "adapter_model.safetensors", {})("any")
        assert ours is not None
        for name, module in model.base_model.model.attn.items():
            rank = module.r["default"]
            scale = ours.effective_alpha(f"base_model.model.attn.{name}", rank) / rank
            assert scale == pytest.approx(module.scaling["default"]), name


def test_a_module_whose_rank_does_not_show_has_that_of_the_config(tmp_path: Path) -> None:
    config = config_of(tmp_path, alpha=6, r=2, rank_pattern={"mid.to_k": 3}, alpha_pattern={})
    assert config.scale("down.to_k") == 3
    assert config.scale("mid.to_k") == 2


def test_a_pattern_names_whole_parts_of_a_path(tmp_path: Path) -> None:
    pattern = {r"^mid\.to_k$": 1, "to_k": 2, "k": 3}
    config = config_of(tmp_path, lora_alpha=9, r=1, alpha_pattern=pattern)
    keys = ("mid.to_k", "x.mid.to_k", "down.to_k", "into_k", "down.k")
    assert [config.effective_alpha(key, 1) for key in keys] == [1, 1, 2, 9, 3]


def test_each_model_of_a_file_has_its_own(tmp_path: Path) -> None:
    text = json.dumps({"unet.lora_alpha": 4, "unet.r": 2, "text_encoder.lora_alpha": 8})
    configs = read_configs(tmp_path / "lora.safetensors", {"lora_adapter_metadata": text})
    unet, text_encoder = configs("unet.a.b"), configs("text_encoder.a.b")
    assert unet is not None
    assert text_encoder is not None
    assert (unet.alpha, unet.rank, text_encoder.alpha) == (4, 2, 8)


def test_the_metadata_comes_before_the_file_beside(tmp_path: Path) -> None:
    config_of(tmp_path, lora_alpha=1)
    metadata = {"lora_adapter_metadata": '{"unet.lora_alpha": 7}'}
    configs = read_configs(tmp_path / "adapter_model.safetensors", metadata)
    assert (unet := configs("unet.a")) is not None
    assert unet.alpha == 7
    assert configs("text_encoder.a") is None


@pytest.mark.parametrize("name", ["lora.safetensors", "adapter_model.safetensors"])
def test_where_nothing_is_said_there_is_none(name: str, tmp_path: Path) -> None:
    if name == "lora.safetensors":  # a config of another file in the folder
        config_of(tmp_path, lora_alpha=1)
    assert read_configs(tmp_path / name, {})("unet.a") is None


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ("[1, 2]", "is no PEFT LoRA config"),
        ("{", "is no PEFT LoRA config"),
        ('{"lora_alpha": true}', "True is no number"),
        ('{"lora_alpha": NaN}', "nan is no number"),
        ('{"lora_alpha": "4"}', "'4' is no number"),
        ('{"lora_alpha": 1, "r": 0}', "the rank 0 is not positive"),
        ('{"lora_alpha": 1, "rank_pattern": {"a": -1}}', "the rank -1 is not positive"),
        ('{"lora_alpha": 1, "alpha_pattern": {"(a+)+b": 1}}', "not a plain module name"),
        ('{"lora_alpha": 1, "alpha_pattern": [1]}', "is no PEFT LoRA config"),
        ("[" * 100_000, "is no PEFT LoRA config"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(
    fields: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text(fields)
    with pytest.raises(BadFile, match=complaint) as told:
        read_configs(tmp_path / "adapter_model.safetensors", {})
    assert told.value.where == str(tmp_path / "adapter_config.json")
