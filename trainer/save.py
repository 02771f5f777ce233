"""The files of a trained style: the LoRA, its sidecar and its thumbnail."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch.nn import Parameter

from runtime.files import write_whole
from runtime.lora import BASE_HASH_KEY
from runtime.tensors import dump_tensors
from runtime.writing import writing
from trainer.adapters import to_kohya
from trainer.base import Base
from trainer.config import TrainConfig
from trainer.dataset import Dataset
from trainer.sidecar import MAKER, a1111_fields, usage_hint, written_by_hand

_NO_PLACE = (
    "free some space or see to the permissions of its folder, and run the same command again: the"
    " trained state is kept"
)
SD2_WIDTH = 1024  # of OpenCLIP's embeddings; the UNets of SD 1 and 2 are otherwise alike


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    config: TrainConfig
    base: Base
    dataset: Dataset
    parameters: dict[str, Parameter]
    size: int
    """Side of the training pictures in pixels."""
    loss: float
    """Running mean at the end."""


def save_lora(trained: Trained, thumbnail: bytes) -> list[Path]:
    """Writes `out`, and beside it `<stem>.json` and `<stem>.png`; returns the three paths.

    The same training always gives the same bytes: there is no date in them. What a hand wrote
    into the sidecar stays.

    Raises:
        BadFile: the sidecar that is there cannot be read; nothing is written.
        BrushletError: the disk is full or read-only, or somebody else's.
    """
    config = trained.config
    tensors = {
        name: tensor.numpy() for name, tensor in to_kohya(trained.parameters, config.alpha).items()
    }
    body = dump_tensors(tensors, {})
    header_size = 8 + int.from_bytes(body[:8], "little")
    weights_sha256 = hashlib.sha256(body[header_size:]).hexdigest()
    metadata = kohya_metadata(trained, weights_sha256)
    described = {**a1111_fields(metadata), **written_by_hand(config.out)}
    sidecar = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    files = {
        config.out.with_suffix(".png"): thumbnail,
        config.out.with_suffix(".json"): sidecar.encode(),
        config.out: dump_tensors(tensors, metadata),  # last: by its metadata the sidecar is read
    }
    for path, data in files.items():
        with writing(path, _NO_PLACE):
            write_whole(path, data)
    return list(files)


class _Family(NamedTuple):
    """How the base's architecture is called by those who read the file."""

    kohya: str
    modelspec: str
    v2: bool


def _family(base: Base) -> _Family:
    if base.pipeline.unet.config.cross_attention_dim != SD2_WIDTH:
        return _Family("sd_v1", "stable-diffusion-v1", False)
    if base.prediction_type == "v_prediction":
        return _Family("sd_v2_768_v", "stable-diffusion-v2-768-v", True)
    return _Family("sd_v2", "stable-diffusion-v2-512", True)


def kohya_metadata(trained: Trained, weights_sha256: str) -> dict[str, str]:
    """`ss_*` as kohya's train_network.py writes them, and `modelspec.*`.

    Model specification: https://github.com/Stability-AI/ModelSpec, version 1.0.0.
    `weights_sha256` is over the bytes behind the header, which kohya calls the model hash.
    """
    config, dataset = trained.config, trained.dataset
    pictures = len(dataset)
    family = _family(trained.base)
    v_prediction = trained.base.prediction_type == "v_prediction"
    values: dict[str, object] = {
        "ss_base_model_version": family.kohya,
        "ss_sd_model_name": trained.base.name,
        "ss_sd_model_hash": trained.base.sha256,
        BASE_HASH_KEY: trained.base.base_hash,
        "ss_network_module": "networks.lora",
        "ss_network_dim": config.rank,
        "ss_network_alpha": config.alpha,
        "ss_network_args": json.dumps({"loraplus_lr_ratio": config.lora_plus_ratio}),
        "ss_output_name": config.name,
        "ss_learning_rate": config.learning_rate,
        "ss_unet_lr": config.learning_rate,
        "ss_text_encoder_lr": None,
        "ss_optimizer": "torch.optim.adamw.AdamW",
        "ss_lr_scheduler": "cosine",
        "ss_lr_warmup_steps": config.warmup_steps,
        "ss_steps": config.steps,
        "ss_max_train_steps": config.steps,
        "ss_total_batch_size": config.batch_size,
        "ss_num_train_images": pictures,
        "ss_num_reg_images": 0,
        "ss_num_epochs": -(-config.steps * config.batch_size // pictures),
        "ss_resolution": f"({trained.size}, {trained.size})",
        "ss_caption_dropout_rate": config.caption_dropout,
        "ss_min_snr_gamma": config.min_snr_gamma if config.loss_weighting == "min_snr" else None,
        "ss_max_grad_norm": config.max_grad_norm,
        "ss_seed": config.seed,
        "ss_v2": family.v2,
        "ss_tag_frequency": json.dumps({config.name: dataset.tag_frequency()}),
        "ss_dataset_dirs": json.dumps({config.name: {"n_repeats": 1, "img_count": pictures}}),
        **MAKER,
        "sshs_model_hash": weights_sha256,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{family.modelspec}/lora",
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": config.title or config.name,
        "modelspec.description": config.description,
        "modelspec.license": config.license,
        "modelspec.trigger_phrase": config.trigger_words,
        "modelspec.usage_hint": usage_hint(config.preferred_strength),
        "modelspec.resolution": f"{trained.size}x{trained.size}",
        "modelspec.prediction_type": "v" if v_prediction else "epsilon",
        "modelspec.hash_sha256": f"0x{weights_sha256}",
    }
    return {key: str(value) for key, value in values.items() if value != ""}
