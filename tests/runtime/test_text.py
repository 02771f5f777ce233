from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextModel, CLIPTokenizer, CLIPTokenizerFast

from runtime.bundle import Bundle
from runtime.errors import BrushletError
from runtime.text import TextEncoder
from tests.parity.reference import relative_error, weighted_states

PROMPTS = [
    "",
    "a castle, clouds, green hills, day",
    "A CASTLE   at\tnight\n",
    "castle castles ca stle, it's 1984!!",
    "城堡, Grüße, 🏰, e\u0301",
]
X = "x " * 75
# A prompt, and the parts of its chunks, written out by hand.
WEIGHTED = {
    "a (castle:1.3), [fog], ((hill))": [
        [("a", 1), ("castle", 1.3), (",", 1), ("fog", 1 / 1.1), (",", 1), ("hill", 1.1 * 1.1)]
    ],
    f"{X} (y:1.5) y": [[(X, 1)], [("y", 1.5), ("y", 1)]],
    f"({'x ' * 70}, a b c d e f g:0.8)": [[("x " * 70 + ",", 0.8)], [("a b c d e f g", 0.8)]],
    "(castle BREAK y:1.2) BREAK": [[("castle", 1.2)], [("y", 1.2)]],
    f"{X}{X}y": [[(X, 1)], [(X, 1)], [("y", 1)]],
    r"\(castle\) :)": [[("(castle) :)", 1)]],
}


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> TextEncoder:
    return TextEncoder(Bundle.open(tiny_bundle))


@pytest.fixture(scope="module")
def pipeline(tiny_base: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(
        tiny_base, torch_dtype=torch.float32, safety_checker=None
    )


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_tokens_are_those_of_transformers(
    prompt: str, encoder: TextEncoder, tiny_base: Path
) -> None:
    for kind in (CLIPTokenizerFast, CLIPTokenizer) if prompt.isascii() else (CLIPTokenizerFast,):
        tokenizer = kind.from_pretrained(tiny_base / "tokenizer")
        expected = tokenizer(prompt, padding="max_length", truncation=True).input_ids
        assert [row.ids for row in encoder.rows(prompt)] == [expected]
        assert encoder.rows(prompt)[0].weights == [1] * 77


def test_embeddings_are_those_of_clip_text_model(encoder: TextEncoder, tiny_base: Path) -> None:
    model = CLIPTextModel.from_pretrained(tiny_base / "text_encoder", torch_dtype=torch.float32)
    ids = torch.tensor([encoder.rows(prompt)[0].ids for prompt in PROMPTS])
    with torch.no_grad():
        expected = model(ids)[0].numpy()
    found = encoder.encode(PROMPTS)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("clip_skip", [0, 2])
@pytest.mark.parametrize("prompt", WEIGHTED, ids=range(len(WEIGHTED)))
def test_weights_and_chunks_are_those_of_a_reference(
    prompt: str, clip_skip: int, encoder: TextEncoder, pipeline: StableDiffusionPipeline
) -> None:
    expected = weighted_states(pipeline, WEIGHTED[prompt], clip_skip=clip_skip)
    found = encoder.encode([prompt], clip_skip=clip_skip)
    assert found.shape == expected.shape
    assert relative_error(found, expected) <= 1e-5  # measured 1e-6 at most


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_clip_skip_is_that_of_diffusers(
    clip_skip: int, encoder: TextEncoder, pipeline: StableDiffusionPipeline
) -> None:
    with torch.no_grad():
        states = pipeline.encode_prompt(
            "a castle", torch.device("cpu"), 1, True, "fog", clip_skip=clip_skip
        )
        last = pipeline.encode_prompt("a castle", torch.device("cpu"), 1, False)[0]
    # diffusers skips layers of the prompt alone; A1111, and so brushlet, of both.
    expected = states[0].numpy()
    found = encoder.encode(["a castle", "fog"], clip_skip=clip_skip)
    assert relative_error(found[:1], expected) <= 1e-5
    negative = weighted_states(pipeline, [[("fog", 1)]], clip_skip=clip_skip)
    assert relative_error(found[1:], negative) <= 1e-5
    assert relative_error(found[:1], last.numpy()) > 0.01


def test_a_shorter_prompt_is_filled_up_with_empty_chunks(encoder: TextEncoder) -> None:
    long, short = encoder.encode([f"{X}{X}y", "castle"])
    (alone,) = encoder.encode(["castle"])
    (empty,) = encoder.encode([""])
    assert long.shape == short.shape == (3 * 77, 32)
    expected = np.concatenate([alone, empty, empty])
    assert np.abs(short - expected).max() <= 1e-5 * np.abs(expected).max()


def test_words_that_are_refused(encoder: TextEncoder) -> None:
    with pytest.raises(BrushletError, match="the style tag <lora:ink:1> - take it out, and name"):
        encoder.encode(["castle <lora:ink:1>"])
    with pytest.raises(BrushletError, match="its last 3 layers - choose from 0 to 2"):
        encoder.encode(["castle"], clip_skip=3)
    with pytest.raises(BrushletError, match="lower the strengths"):
        encoder.encode(["(castle:1" + "0" * 60 + ")"])


def test_a_bundle_without_skipped_layers_says_so(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    part = bundle.manifest.text_encoder.model_copy(update={"skipped": []})
    manifest = bundle.manifest.model_copy(update={"text_encoder": part})
    encoder = TextEncoder(Bundle(bundle.folder, manifest))
    with pytest.raises(BrushletError, match="leave it out, or export the bundle again"):
        encoder.encode(["castle"], clip_skip=1)
