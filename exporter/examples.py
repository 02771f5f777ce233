"""`--examples`: a style's thumbnail and example pictures, drawn with the style as exported.

Every style of a base gets the same prompts from the same seeds, so that cards side by side differ
by the style alone. The Python runtime draws them: a second a picture with the embedded base, some
minutes with Stable Diffusion 1.5 on a CPU, so nothing is drawn unless it is asked for.
"""

import io

from PIL import Image

from exporter.progress import Step
from exporter.sidecar import EXAMPLES
from exporter.staging import Stage
from runtime.bundle import Bundle
from runtime.manifest import FileRef, Manifest, Style
from runtime.pipeline import Pipeline

_SEED = 1
_SIDE = 256  # pixels at most: a card is 100 wide, an example 110, screens have two or three a point
_USUAL = ("a castle on a hill", "a portrait of a woman", "a street at night", "a bowl of fruit")
_THUMBNAIL = "thumbnail"


def draw_pictures(bundle: Bundle, name: str, stage: Stage, step: Step) -> Style:
    """Draws and stages what pictures a style lacks; those of its makers stay.

    Args:
        bundle: the staged one, with the style in its manifest.
        name: the style's.
        stage: where the pictures go.
        step: shows the progress.

    Returns:
        The style with a thumbnail and three examples.

    Raises:
        BrushletError: the base cannot draw from words alone (inpainting).
    """
    style = bundle.style(name)
    wanted = [] if style.thumbnail else [_THUMBNAIL]
    if not style.examples:
        wanted += [f"example-{number}" for number in range(1, EXAMPLES + 1)]
    if not wanted:
        return style
    pipeline = Pipeline(bundle)
    strength = style.merged_strength if style.kind == "merged" else style.strength.default
    scenes = _scenes(bundle.manifest)
    drawn: dict[str, FileRef] = {}
    with step("drawing examples", len(wanted)) as advance:
        for what in wanted:
            prompt, seed = scenes[0 if what == _THUMBNAIL else int(what[-1])]
            words = ", ".join([*style.trigger_words, prompt])
            styles = {name: 1.0 if strength is None else strength}
            picture = pipeline.generate(words, styles=styles, seed=seed)
            stem = f"styles/{'thumb' if what == _THUMBNAIL else 'example'}-{name}"
            drawn[what] = stage.add(stem, ".webp", _webp(picture.image))
            advance()
    thumbnail = drawn.pop(_THUMBNAIL, style.thumbnail)
    examples = list(drawn.values()) or style.examples
    return style.model_copy(update={"thumbnail": thumbnail, "examples": examples})


def _scenes(manifest: Manifest) -> list[tuple[str, int]]:
    """Prompt and seed of the thumbnail, then of each example: what the base draws best first."""
    prompts = manifest.hints.prompts or list(_USUAL)
    count = len(prompts)
    return [(prompts[i % count], _SEED + i // count) for i in range(EXAMPLES + 1)]


def _webp(image: Image.Image) -> bytes:
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=90, method=6)
    return file.getvalue()
