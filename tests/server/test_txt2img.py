import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import httpx
import numpy as np
import pytest
from PIL import Image

from runtime.bundle import Bundle
from runtime.pipeline import Pipeline
from runtime.styles import Strengths
from runtime.unet import UNet
from server.app import create_app
from server.settings import Settings
from tests.server.conftest import problem, running, until_opened

PROMPT = "a castle, clouds"
ASKED = {
    "prompt": PROMPT,
    "negative_prompt": "dark",
    "styles": [{"name": "wiggle", "strength": 0.7, "te": 0.3}],
    "seed": 5,
    "steps": 6,
    "guidance_scale": 4.0,
    "guidance_range": [0.2, 0.8],
    "sampler": "unipc",
    "width": 96,
    "height": 64,
}


def pixels(response: httpx.Response) -> np.ndarray:
    assert response.is_success, response.text
    with Image.open(io.BytesIO(response.content)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def test_the_picture_is_that_of_the_runtime(client: httpx.Client, tiny_bundle: Path) -> None:
    expected = Pipeline(Bundle.open(tiny_bundle)).generate(
        PROMPT,
        negative_prompt="dark",
        styles={"wiggle": Strengths(unet=0.7, te=0.3)},
        seed=5,
        steps=6,
        guidance_scale=4.0,
        guidance_range=(0.2, 0.8),
        sampler="unipc",
        size=(96, 64),
    )
    answer = client.post("/v1/txt2img", json=ASKED)
    assert (pixels(answer) == expected.pixels).all()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "image/png"


def test_what_is_left_out_is_as_the_makers_advise(client: httpx.Client, tiny_bundle: Path) -> None:
    expected = Pipeline(Bundle.open(tiny_bundle)).generate(PROMPT)
    assert (pixels(client.post("/v1/txt2img", json={"prompt": PROMPT})) == expected.pixels).all()


def test_a_merged_style_and_webp(client: httpx.Client) -> None:
    merged = {"prompt": PROMPT, "steps": 2, "styles": [{"name": "wiggle-merged", "strength": 0.8}]}
    answer = client.post("/v1/txt2img?format=webp", json=merged)
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (64, 64))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"steps": 51}, "invalid-request", "51 steps are too many - ask for 50"),
        ({"width": 512}, "invalid-request", "512x64 pixels - stay within 256x256"),
        ({"width": 100}, "brushlet-error", "100x64 pixels - make both sides multiples of 8"),
        ({"sampler": "plms"}, "brushlet-error", "no sampler 'plms'"),
        ({"guidance_range": [0.8, 0.2]}, "brushlet-error", "two fractions of the run"),
        ({"styles": [{"name": "nobody", "strength": 1}]}, "brushlet-error", "no style 'nobody'"),
        ({"styles": [{"name": "wiggle", "strength": 1}] * 2}, "invalid-request", "style twice"),
        ({"seed": -1}, "invalid-request", "seed: .*greater than or equal to 0"),
        ({"image": "x"}, "invalid-request", "image: Extra inputs are not permitted"),
        ({"prompt": None}, "invalid-request", "prompt: Input should be a valid string"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_told(
    change: dict[str, object], kind: str, words: str, client: httpx.Client
) -> None:
    answer = client.post("/v1/txt2img", json=ASKED | change)
    assert re.search(words, problem(answer, 422, kind))


@pytest.fixture
def slow(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[httpx.Client, list[int]]]:
    """A server without a queue whose steps take their time, and a mark for each."""
    steps: list[int] = []
    predict = UNet.predict

    def slowly(self: UNet, sample: np.ndarray, *args: object) -> np.ndarray:
        steps.append(1)
        sleep(0.1)
        return predict(self, sample, *args)

    monkeypatch.setattr(UNet, "predict", slowly)
    with running(create_app(settings.model_copy(update={"draw_queue": 0}))) as client:
        assert until_opened(client).status_code == 200
        yield client, steps


def test_a_client_that_leaves_ends_its_picture_and_others_are_told_to_wait(
    slow: tuple[httpx.Client, list[int]],
) -> None:
    client, steps = slow
    leaving = httpx.Client(base_url=client.base_url, timeout=1.5)
    with pytest.raises(httpx.ReadTimeout), leaving:
        leaving.post("/v1/txt2img", json={"prompt": PROMPT, "steps": 50, "guidance_scale": 1})
    busy = client.post("/v1/txt2img", json={"prompt": PROMPT, "steps": 1, "guidance_scale": 1})
    # It may have ended between the two: then it was drawn.
    if busy.status_code == 503:
        assert "the server is busy" in problem(busy, 503, "busy")
        assert busy.headers["retry-after"] == "2"
    deadline = monotonic() + 30
    while client.post("/v1/txt2img", json={"prompt": PROMPT, "steps": 1}).status_code == 503:
        assert monotonic() < deadline
        sleep(0.1)
    assert len(steps) < 45, "the picture that nobody waited for was drawn to its end"


def test_one_picture_is_drawn_at_a_time(slow: tuple[httpx.Client, list[int]]) -> None:
    client, steps = slow
    asked = {"prompt": PROMPT, "steps": 20, "guidance_scale": 1}
    answers: list[httpx.Response] = []
    first = threading.Thread(
        target=lambda: answers.append(client.post("/v1/txt2img", json=asked, timeout=120))
    )
    first.start()
    while not steps:
        sleep(0.01)
    busy = client.post("/v1/txt2img", json=asked)
    assert "0 requests waiting - try again in 2 s" in problem(busy, 503, "busy")
    assert client.post("/v1/encode", json={"prompt": PROMPT}).is_success  # others go on
    first.join()
    assert answers[0].is_success
