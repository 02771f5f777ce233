"""The studio without HTTP; what a client sees is in tests/server/test_txt2img.py."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.bundle import Bundle
from runtime.errors import Cancelled
from runtime.pipeline import Pipeline
from runtime.styles import Strengths
from server.engine import Engine, Parts
from server.painting import Painter, Studio
from server.problems import InvalidRequest

PROMPT = "a castle, clouds"


@pytest.fixture(scope="module")
def parts(text_bundle: Path) -> Parts:
    return Engine(text_bundle, 1).parts()


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio()


def never() -> bool:
    return False


@pytest.fixture
def draw(parts: Parts, studio: Studio) -> Callable[..., np.ndarray]:
    def pixels(max_steps: int = 50, **asked: object) -> np.ndarray:
        body = json.dumps({"prompt": PROMPT, "seed": 3} | asked).encode()
        file = studio.draw(parts, body, "png", (256, max_steps), never)
        return np.asarray(Image.open(io.BytesIO(file)))

    return pixels


def test_steps_that_nobody_asked_for_stay_within_the_limit(
    draw: Callable[..., np.ndarray],
) -> None:
    assert (draw(max_steps=3) == draw(steps=3)).all()
    with pytest.raises(InvalidRequest, match="4 steps are too many - ask for 3 at most"):
        draw(max_steps=3, steps=4)


def test_without_a_strength_of_its_own_the_text_follows_the_picture(
    draw: Callable[..., np.ndarray], text_bundle: Path
) -> None:
    style = next(
        style.name
        for style in Bundle.open(text_bundle).manifest.styles
        if style.kind == "external" and "text_encoder" in style.models
    )
    follows = draw(steps=2, styles=[{"name": style, "strength": 0.9}])
    assert (follows == draw(steps=2, styles=[{"name": style, "strength": 0.9, "te": 0.9}])).all()
    assert (follows != draw(steps=2, styles=[{"name": style, "strength": 0.9, "te": 0}])).any()
    expected = Pipeline(Bundle.open(text_bundle)).generate(
        PROMPT, seed=3, steps=2, styles={style: Strengths(0.9, 0.9)}
    )
    assert (follows == expected.pixels).all()


@pytest.mark.parametrize("side", ["width", "height"])
def test_a_side_that_is_too_long_is_named(side: str, draw: Callable[..., np.ndarray]) -> None:
    with pytest.raises(InvalidRequest, match="stay within 256x256") as told:
        draw(**{side: 264})
    assert told.value.where == side


def test_a_picture_that_nobody_waits_for_ends_before_its_next_step(
    parts: Parts, studio: Studio
) -> None:
    asked: Iterator[bool] = iter([False, False, False, True])
    body = json.dumps({"prompt": PROMPT, "steps": 20, "guidance_scale": 1}).encode()
    with pytest.raises(Cancelled):
        studio.draw(parts, body, "png", (256, 50), lambda: next(asked))
    assert next(asked, None) is None  # it was not asked again


def test_it_shares_the_server_s_sessions_and_keeps_few_unets(parts: Parts) -> None:
    painter = Painter(parts)
    assert painter.vae_decoder is parts.vae_decoder
    base = painter.unet("base")
    assert painter.unet("base") is base
    assert painter.text_encoder_of("base") is parts.text_encoder_of("base")
    merged, another, *_ = {variant.name for variant in parts.bundle.manifest.unet} - {"base"}
    assert painter.unet(merged) is painter.unet(merged)
    assert painter.unet("base") is base  # two fit
    painter.unet(another)
    assert painter.unet("base") is not base  # three do not


def test_a_bundle_that_changed_has_a_new_painter(parts: Parts, studio: Studio) -> None:
    body = json.dumps({"prompt": PROMPT, "steps": 1}).encode()
    studio.draw(parts, body, "png", (256, 50), never)
    first = studio._painter
    studio.draw(parts, body, "webp", (256, 50), never)
    assert studio._painter is first
    changed = replace(parts, bundle=Bundle.open(parts.bundle.folder))
    studio.draw(changed, body, "png", (256, 50), never)
    assert studio._painter is not first
