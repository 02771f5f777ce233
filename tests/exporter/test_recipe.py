import json
from pathlib import Path

import pytest

from exporter.blend import LORAS, Blend, Part
from exporter.recipe import read_recipe
from runtime.errors import BadFile

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "ink.safetensors").touch()
    (tmp_path / "dusk.png").write_bytes(PNG)
    return tmp_path


def recipe(folder: Path, **changes: object) -> Path:
    fields = {
        "pack_name": "Dusk in Ink",
        "loras": [{"name": "Ink", "path": "loras/ink.safetensors", "default_weight": 0.7}],
        "preview_image": "dusk.png",
        "description": "Blue hours.",
    } | changes
    path = folder / "pack.json"
    path.write_text(json.dumps({key: value for key, value in fields.items() if value is not ...}))
    return path


def test_paths_are_relative_to_the_recipe(folder: Path) -> None:
    assert read_recipe(recipe(folder)) == Blend(
        (Part(folder / "loras/ink.safetensors", 0.7),),
        "Dusk in Ink",
        "Blue hours.",
        folder / "dusk.png",
    )
    short = recipe(
        folder, preview_image=..., description=..., loras=[{"path": "loras/ink.safetensors"}]
    )
    assert read_recipe(short) == Blend(
        (Part(folder / "loras/ink.safetensors", 1.0),), "Dusk in Ink", ""
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "blue"}, "colour"),
        ({"loras": []}, "loras"),
        ({"loras": ...}, "loras"),
        ({"pack_name": ...}, "pack_name"),
        ({"pack_name": 7}, "pack_name"),
        (
            {"loras": [{"path": "loras/ink.safetensors", "default_weight": "much"}]},
            "default_weight",
        ),
        ({"loras": [{"path": "loras/ink.safetensors", "weight": 1}]}, "loras.0.weight"),
        ({"loras": [{"name": "Ink"}]}, "loras.0.path"),
        ({"loras": [{"name": "Ink", "path": "gone.safetensors"}]}, "gone.safetensors"),
        ({"preview_image": "gone.png"}, "gone.png"),
        ({"preview_image": "loras/ink.safetensors"}, "is no picture"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], said: str, folder: Path) -> None:
    with pytest.raises(BadFile) as caught:
        read_recipe(recipe(folder, **changes))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"pack_name": "x", "loras": [{"path": "\\ud800"}]}'])
def test_what_is_no_recipe_is_refused(text: str, folder: Path) -> None:
    (folder / "pack.json").write_text(text)
    with pytest.raises(BadFile, match=r"pack\.json"):
        read_recipe(folder / "pack.json")


def test_a_missing_recipe_is_refused(folder: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        read_recipe(folder / "none.json")


def test_a_recipe_that_the_page_saved_is_read(folder: Path) -> None:
    """The file that web/tests/page/words.test.ts holds the page's recipes against."""
    saved = Path(__file__).parents[2] / "web" / "tests" / "vectors" / "recipe.json"
    (folder / "page.json").write_bytes(saved.read_bytes())
    (folder / "ink.safetensors").touch()
    assert read_recipe(folder / "page.json") == Blend(
        # not beside the recipe, but one of those that come with the repository
        (Part(LORAS / "miyazaki.safetensors", 0.8), Part(folder / "ink.safetensors", 1.25)),
        "Dusk",
        "Blue hours.",
    )
