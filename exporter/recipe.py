"""`RECIPE=pack.json`: a style put together from LoRAs, written down in a file.

The page saves and opens the same files (`web/src/page/recipes.ts`). It knows no folders, so what
it writes is a bare file name.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from exporter.blend import LORAS, Blend, Part
from exporter.sidecar import check_picture
from runtime.errors import BadFile
from runtime.manifest import Strict
from runtime.tensors import read_bytes

_EXAMPLE = (
    'write {"pack_name": "Dusk", "loras": [{"name": "Ink", "path": "ink.safetensors",'
    ' "default_weight": 0.7}], "preview_image": "dusk.png", "description": "..."}'
)


class RecipeLora(Strict):
    """A LoRA of a recipe."""

    name: str = ""
    path: str = Field(
        min_length=1, description="relative to the recipe; or a file's name under models/loras/"
    )
    default_weight: float = Field(default=1.0, allow_inf_nan=False)


class Recipe(Strict):
    """What a recipe says."""

    pack_name: str = Field(min_length=1)
    loras: list[RecipeLora] = Field(min_length=1)
    preview_image: str | None = Field(default=None, description="relative to the recipe")
    description: str = ""
    settings: dict[str, Any] = Field(
        default={}, description="what the page draws with, which makes no difference to the style"
    )


def read_recipe(path: Path) -> Blend:
    """The LoRAs and the preview image of a recipe; paths in it are relative to the file.

    Raises:
        BadFile: the recipe, or a file that it names, is missing or not what it should be.
    """
    try:
        recipe = Recipe.model_validate_json(read_bytes(path), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        what = f"field {field}: {first['msg']}" if field else first["msg"]
        raise BadFile(what, where=str(path), todo=_EXAMPLE) from None
    parts = []
    for number, lora in enumerate(recipe.loras):
        file = _found(path.parent, lora.path)
        if not file.is_file():
            what = f"loras.{number} ({lora.name or lora.path}): there is no file {file}"
            todo = "put the LoRA there, or correct its path, which is relative to the recipe"
            raise BadFile(what, where=str(path), todo=todo)
        parts.append(Part(file, lora.default_weight))
    picture = recipe.preview_image
    return Blend(
        tuple(parts),
        title=recipe.pack_name,
        description=recipe.description,
        picture=check_picture(path.parent / picture) if picture else None,
    )


def _found(folder: Path, name: str) -> Path:
    beside, known = folder / name, LORAS / name
    bare = Path(name).name == name
    return known if bare and known.is_file() and not beside.is_file() else beside
