"""The page on the embedded model, and what its pictures show."""

import numpy as np
import pytest
from PIL import Image

from exporter.export import StyleRequest, export
from exporter.progress import silent
from models.classifiers import load_judge
from models.training.places import BASE, LORAS
from tests.pages import page, promises


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Name -> the picture that the page gave to download, uint8 [128, 128, 3]."""
    bundle, folder = tmp_path_factory.mktemp("bundle"), tmp_path_factory.mktemp("pictures")
    export(BASE, bundle, silent, StyleRequest(LORAS / "miyazaki.safetensors", "external"))
    with page(bundle) as url:
        told = promises("page/embedded.mjs", url, str(folder))
    assert "BROKEN" not in told["all"], told["all"]
    return {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in folder.glob("*.png")}


def test_the_styled_picture_shows_the_prompt_in_the_style(painted: dict[str, np.ndarray]) -> None:
    """The first prompt of the base's hints, at the strength where the slider starts."""
    said = load_judge().judge([painted["styled"], painted["base"]])
    assert said == {
        "style": ["miyazaki", "plain"],
        "object": ["castle", "castle"],
        "ground": ["green hills", "green hills"],
        "time": ["day", "day"],
    }


def test_strength_0_is_the_base_picture(painted: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(painted["zero"], painted["base"])
    assert (painted["styled"] != painted["base"]).any()
