"""What the frozen VAE and text encoder say about the pictures: computed once, then reused."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput

from trainer.base import Base
from trainer.dataset import Dataset, load_pictures

TEXT_BATCH = 32


@dataclass(frozen=True)
class Cache:
    """Everything the loop reads, on the training device.

    Pictures are the first axis of `mean` and `std` (and again, mirrored, behind the plain ones
    when `flip` was asked for); captions that of `embeddings`.
    """

    mean: torch.Tensor
    """VAE posterior mean [V * N, C, h, w], V = 2 with mirrored pictures, else 1."""
    std: torch.Tensor
    """VAE posterior standard deviation, like `mean`; zero where it has none (TAESD)."""
    embeddings: torch.Tensor
    """Caption embeddings [N, T, D]."""
    empty: torch.Tensor
    """Embedding of the empty prompt [T, D]."""
    scaling_factor: float
    """latents = scaling_factor * posterior sample."""

    @property
    def pictures(self) -> int:
        """N, the number of different pictures."""
        return len(self.embeddings)

    @property
    def variants(self) -> int:
        """V, the number of stored variants of each picture."""
        return len(self.mean) // self.pictures


@torch.no_grad()
def fill_cache(base: Base, dataset: Dataset, size: int, flip: bool) -> Cache:
    """Encodes every picture at `size` x `size` pixels and every caption.

    Raises what `load_pictures` raises.
    """
    vae = base.pipeline.vae
    plain, mirrored = [], []
    for picture in load_pictures(dataset, size):
        pixels = picture[None].to(vae.device)
        plain.append(_posterior(vae, pixels))
        if flip:
            mirrored.append(_posterior(vae, pixels.flip(-1)))
    means, stds = zip(*plain, *mirrored, strict=True)
    captions = [example.caption for example in dataset.examples]
    return Cache(
        mean=torch.cat(means),
        std=torch.cat(stds),
        embeddings=embed(base.pipeline, captions),
        empty=embed(base.pipeline, [""])[0],
        scaling_factor=vae.config.scaling_factor,
    )


def _posterior(vae: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation [1, C, h, w] of what a VAE makes of pixels."""
    encoded = vae.encode(pixels)
    if isinstance(encoded, AutoencoderTinyOutput):
        return encoded.latents, torch.zeros_like(encoded.latents)
    return encoded.latent_dist.mean, encoded.latent_dist.std


@torch.no_grad()
def embed(pipeline: Any, prompts: list[str]) -> torch.Tensor:
    """CLIP embeddings [len(prompts), T, D] of `prompts`; words beyond T tokens are cut off."""
    parts = []
    for start in range(0, len(prompts), TEXT_BATCH):
        tokens = pipeline.tokenizer(
            prompts[start : start + TEXT_BATCH],
            padding="max_length",
            max_length=pipeline.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        parts.append(pipeline.text_encoder(tokens.input_ids.to(pipeline.device))[0])
    return torch.cat(parts)


def caption_notes(base: Base, dataset: Dataset, trigger_words: str) -> list[str]:
    """What people should know about their captions before they wait for the result."""
    captions = [example.caption for example in dataset.examples]
    limit = base.pipeline.tokenizer.model_max_length
    lengths = [len(base.pipeline.tokenizer.tokenize(caption)) + 2 for caption in captions]
    cut = sum(length > limit for length in lengths)
    without = sum(trigger_words not in caption for caption in captions)
    notes = []
    if cut:
        notes.append(f"{cut} captions are longer than {limit} tokens; the rest is not read")
    if without:
        notes.append(f"the trigger words {trigger_words!r} are missing in {without} captions")
    return notes
