from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer, CLIPTokenizerFast

from runtime.bundle import Bundle
from runtime.text import TextEncoder

PROMPTS = [
    "",
    "a castle, clouds, green hills, day",
    "A CASTLE   at\tnight\n",
    "castle castles ca stle, it's 1984!!",
    "城堡, Grüße, 🏰, e\u0301",
    "a very long prompt, " * 40,
]


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> TextEncoder:
    return TextEncoder(Bundle.open(tiny_bundle))


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_tokens_are_those_of_transformers(
    prompt: str, encoder: TextEncoder, tiny_base: Path
) -> None:
    for kind in (CLIPTokenizerFast, CLIPTokenizer) if prompt.isascii() else (CLIPTokenizerFast,):
        tokenizer = kind.from_pretrained(tiny_base / "tokenizer")
        expected = tokenizer(prompt, padding="max_length", truncation=True).input_ids
        assert encoder.tokenize(prompt).ids == expected


def test_what_does_not_fit_is_counted(encoder: TextEncoder) -> None:
    whole = encoder.tokenize("x " * 75)
    assert whole.cut == 0
    assert len(whole.ids) == 77
    assert encoder.tokenize("x " * 80).cut == 5


def test_embeddings_are_those_of_clip_text_model(encoder: TextEncoder, tiny_base: Path) -> None:
    model = CLIPTextModel.from_pretrained(tiny_base / "text_encoder", torch_dtype=torch.float32)
    ids = torch.tensor([encoder.tokenize(prompt).ids for prompt in PROMPTS])
    with torch.no_grad():
        expected = model(ids)[0].numpy()
    found = encoder.encode(PROMPTS)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
