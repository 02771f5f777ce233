"""The built page in a real Chromium, with the real server behind it."""

from pathlib import Path

import pytest

from tests.pages import page, promises


@pytest.fixture(scope="module")
def told(tiny_bundle: Path) -> dict[str, str]:
    """What `web/tests/page/e2e.mjs` says of each promise of the page: name -> line."""
    with page(tiny_bundle) as url:
        return promises("page/e2e.mjs", url)


@pytest.mark.parametrize(
    "promise",
    [
        "a picture is painted in an isolated page, within tolerance of PyTorch",
        "the slider at 0 is the base picture, and the model is not loaded again",
        "without a server's help the picture is the same",
        "the same settings give the same picture",
        "a link brings the same picture to another visitor",
        "compare shows the picture at strength 0 while it is held",
        "a merged style is painted without a slider",
        "cancel ends the picture within a step, and the next one is painted",
        "live: the slider's last place wins",
        "a server that is down is named; Retry paints",
        "a server that is not ready yet is waited for",
        "a server that is down at page load is named; Retry opens",
        "a style of another base is refused with both names",
        "everything can be done from the keyboard",
        "the chosen language is remembered",
        "a Chinese visitor is spoken to in Chinese",
    ],
)
def test_the_page_keeps_its_promises(promise: str, told: dict[str, str]) -> None:
    assert told.get(promise, "").startswith("kept "), told["all"]
