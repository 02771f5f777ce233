"""The three styles that come with the embedded base, and their drawn pictures."""

import shutil
from pathlib import Path

from models.scenes import write_style_dataset
from runtime.errors import BrushletError
from runtime.writing import writing

PRESETS: dict[str, dict[str, object]] = {
    "miyazaki": {
        "title": "Miyazaki",
        "description": "Saturated hand-painted greens, huge cumulus, soft brush texture.",
    },
    "gothic": {
        "title": "Gothic",
        "description": "Dark and cold, pointed silhouettes, fog.",
    },
    "cyberpunk": {
        "title": "Cyberpunk",
        "description": "Neon on a violet night, lit windows, rain streaks.",
    },
}

PICTURES = 20
# Enough for the style judge to name the style at strength 1 (`make model-report`).
TRAINING: dict[str, object] = {
    "steps": 500,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "lora_plus_ratio": 10.0,
    "least_strength": 0.8,
    "loss_weighting": "velocity",
}


def preset(name: str) -> dict[str, object]:
    """Settings of an embedded style; empty for any other name."""
    if name not in PRESETS:
        return {}
    return {"trigger_words": f"{name} style", "license": "Apache-2.0", **TRAINING, **PRESETS[name]}


def draw_dataset(name: str, folder: Path) -> Path:
    """Draws an embedded style's pictures and `metadata.jsonl` into `folder`, and returns it.

    What a former run drew there is replaced. BrushletError when `name` is no embedded style, or
    when the folder cannot be written.
    """
    if name not in PRESETS:
        raise BrushletError(
            f"{name!r} is none of the embedded styles ({', '.join(PRESETS)})",
            todo="give a folder of pictures with --data FOLDER",
        )
    with writing(folder, "free some space or see to its permissions, or give pictures with --data"):
        shutil.rmtree(folder, ignore_errors=True)
        write_style_dataset(name, folder, count=PICTURES)
    return folder
