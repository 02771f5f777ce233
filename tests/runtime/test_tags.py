import time

import pytest

from runtime.errors import BrushletError
from runtime.styles import Strengths
from runtime.tags import first_tag, take_tags


@pytest.mark.parametrize(
    ("tag", "unet", "te"),
    [
        ("<lora:ink>", 1, 1),
        ("<lora:ink:0.8>", 0.8, 0.8),
        ("<lora:ink:0.5:0.8>", 0.8, 0.5),
        ("<lora: ink : .5 : -1. >", -1, 0.5),
        ("<lora:ink:te=0.5>", 0.5, 0.5),
        ("<lora:ink:unet=0.5>", 0.5, 1),
        ("<lora:ink:te=0.2:unet=0.7>", 0.7, 0.2),
        ("<lora:ink:0.8:unet = 0>", 0, 0.8),
        ("<lora:ink:0.5><lora:ink:0.25:1>", 1.5, 0.75),
    ],
)
def test_strengths(tag: str, unet: float, te: float) -> None:
    found = take_tags(f"a castle, {tag}, day")
    assert found == ("a castle, , day", {"ink": Strengths(unet, te)})


def test_several_in_their_order() -> None:
    prompt, styles = take_tags("<lora:oil:2> a (castle:1.2)<lora:ink>")
    assert prompt == " a (castle:1.2)"
    assert list(styles) == ["oil", "ink"]


@pytest.mark.parametrize("words", ["a < b > c", "<lora:>", "<lora:ink", "<hypernet:x:1>", "<lora>"])
def test_words_are_no_tags(words: str) -> None:
    assert take_tags(words) == (words, {})
    assert first_tag(words) is None


def test_the_first_tag() -> None:
    assert first_tag("a <lora:ink:1> <lora:oil:1>") == "<lora:ink:1>"


@pytest.mark.parametrize(
    ("tag", "complaint"),
    [
        ("<lora: :1>", "names no style"),
        ("<lora:ink:much>", "has 'much' where a number belongs - write <lora:name:strength>"),
        ("<lora:ink:>", "has '' where a number belongs"),
        ("<lora:ink:1e3>", "has '1e3' where"),
        ("<lora:ink:nan>", "has 'nan' where"),
        ("<lora:ink:٣>", "where a number belongs"),
        ("<lora:ink:1:1:8>", "has more than two strengths"),
        ("<lora:ink:dyn=8>", "has a field 'dyn' beside te and unet"),
        ("<lora:ink:te=0=1>", "has '0=1' where a number belongs"),
    ],
)
def test_a_tag_that_cannot_be_read(tag: str, complaint: str) -> None:
    with pytest.raises(BrushletError, match=complaint) as caught:
        take_tags(f"a castle {tag}")
    assert str(caught.value).startswith(f"{tag}: ")


def test_hostile_prompts_take_linear_time() -> None:
    began = time.perf_counter()
    for prompt in ("<lora:a" * 100_000, "<lora:a:1>" * 20_000, "<" * 500_000):
        take_tags(prompt)
    assert time.perf_counter() - began < 20
