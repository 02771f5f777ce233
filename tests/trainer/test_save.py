import io
import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from runtime.digests import base_hash
from runtime.lora import read_lora
from runtime.tensors import read_tensors
from tests.trainer.conftest import MakeConfig, run
from trainer.config import TARGET_SUFFIXES
from trainer.save import Trained, kohya_metadata
from trainer.sidecar import a1111_fields


@pytest.fixture
def trained(config_with: MakeConfig) -> Trained:
    """A short training with large steps, so that no adapter is near zero."""
    return run(config_with(learning_rate=0.02, title="Mine", license="CC0-1.0", flip=False))


def test_kohya_keys_cover_every_transformer_layer(trained: Trained) -> None:
    unet = trained.base.pipeline.unet
    wanted = {
        "lora_unet_" + name.removesuffix(".base_layer").replace(".", "_")
        for name, _ in unet.named_modules()
        if name.endswith(".base_layer")
    }
    file = read_lora(trained.config.out)
    assert set(file.modules) == wanted
    suffixes = {suffix.replace(".", "_") for suffix in TARGET_SUFFIXES}
    assert {next(s for s in suffixes if key.endswith(s)) for key in wanted} == suffixes
    assert {module.alpha for module in file.modules.values()} == {2.0}
    assert {module.rank for module in file.modules.values()} == {4}


def test_tensors_are_half_and_projections_are_1x1_convolutions(trained: Trained) -> None:
    tensors, _ = read_tensors(trained.config.out)
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"float16"}
    key = "lora_unet_down_blocks_0_attentions_0_proj_in"
    assert tensors[f"{key}.lora_down.weight"].shape == (4, 32, 1, 1)
    assert tensors[f"{key}.lora_up.weight"].shape == (32, 4, 1, 1)
    assert tensors[f"{key}.alpha"].shape == ()


def test_metadata(trained: Trained, tiny_base: Path) -> None:
    _, metadata = read_tensors(trained.config.out)
    expected = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "2.0",
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_hash": trained.base.sha256,
        "brushlet.base_hash": base_hash(tiny_base),
        "ss_num_train_images": "3",
        "ss_steps": "6",
        "ss_seed": "0",
        "ss_learning_rate": "0.02",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.title": "Mine",
        "modelspec.trigger_phrase": "my style",
        "modelspec.resolution": "64x64",
        "modelspec.license": "CC0-1.0",
    }
    assert expected.items() <= metadata.items()
    assert json.loads(metadata["ss_tag_frequency"])["mine"]["my style"] == 3


def test_an_sd2_base_is_called_so(trained: Trained) -> None:
    unet = trained.base.pipeline.unet
    unet.register_to_config(cross_attention_dim=1024)
    metadata = kohya_metadata(trained, "0")
    assert metadata["modelspec.architecture"] == "stable-diffusion-v2-512/lora"
    assert a1111_fields(metadata)["sd version"] == "SD2"


def test_sidecar_and_thumbnail(trained: Trained) -> None:
    out = trained.config.out
    sidecar = json.loads(out.with_suffix(".json").read_text())
    assert sidecar["activation text"] == "my style"
    assert sidecar["preferred weight"] == 0.8
    assert set(sidecar) == {
        *("description", "sd version", "activation text", "preferred weight"),
        *("negative text", "notes"),
    }
    with Image.open(io.BytesIO(out.with_suffix(".png").read_bytes())) as picture:
        assert (picture.size, picture.mode) == ((128, 128), "RGB")


def test_diffusers_reads_it_and_draws_as_peft_does(trained: Trained, tiny_base: Path) -> None:
    out = trained.config.out
    with torch.no_grad():
        for parameter in trained.parameters.values():
            parameter.copy_(parameter.half())  # what the file holds
    pipeline = StableDiffusionPipeline.from_pretrained(
        tiny_base, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn((2, 4, 8, 8), generator=generator)
    states = torch.randn((2, 77, 32), generator=generator)
    with torch.no_grad():
        base = pipeline.unet(sample, 500, states).sample
        pipeline.load_lora_weights(out.parent, weight_name=out.name)
        loaded = pipeline.unet(sample, 500, states).sample
        peft = trained.base.pipeline.unet(sample, 500, states).sample
    assert (loaded - base).abs().max() > 1e-2
    assert (loaded - peft).abs().max() <= 1e-6 * peft.abs().max()
