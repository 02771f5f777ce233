"""The tokenizer takes any prompt and loses nothing but case and spacing."""

from __future__ import annotations

import pytest
from transformers import CLIPTokenizer, CLIPTokenizerFast

from models.training.places import BASE

PROMPTS = [
    "a castle, clouds, green hills, day",
    "gothic style, a hot air balloon, moon, stars, snowy mountains, sea, night",
    "一座城堡 云 青山",
    "a castle 🏰 with 2 towers & naïve façade!",
    "",
]


@pytest.fixture(scope="module")
def fast() -> CLIPTokenizerFast:
    return CLIPTokenizerFast.from_pretrained(BASE / "tokenizer")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_round_trip(fast: CLIPTokenizerFast, prompt: str) -> None:
    ids = fast(prompt).input_ids
    assert ids[0] == fast.bos_token_id
    assert ids[-1] == fast.eos_token_id
    assert fast.eos_token_id not in ids[1:-1]  # which is also what unknown text would become
    text = fast.decode(ids, skip_special_tokens=True)
    assert "".join(text.split()) == "".join(prompt.lower().split())


@pytest.mark.parametrize("prompt", [PROMPTS[0], PROMPTS[1], PROMPTS[4]])
def test_slow_and_fast_agree(fast: CLIPTokenizerFast, prompt: str) -> None:
    slow = CLIPTokenizer.from_pretrained(BASE / "tokenizer")
    assert slow(prompt).input_ids == fast(prompt).input_ids


def test_caption_words_are_single_tokens(fast: CLIPTokenizerFast) -> None:
    assert len(fast(PROMPTS[0]).input_ids) == 8 + 1 + 2


def test_limits(fast: CLIPTokenizerFast) -> None:
    assert fast.model_max_length == 77
    assert len(fast("castle " * 100, truncation=True).input_ids) == 77
    assert fast.pad_token_id == fast.eos_token_id == len(fast) - 1
