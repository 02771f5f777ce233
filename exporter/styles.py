"""A style's entry in the manifest: what external and merged styles say alike."""

from pathlib import Path
from typing import Any

from exporter.details import Details
from exporter.staging import Stage
from runtime.manifest import FileRef, Style


def make_style(details: Details, stage: Stage, **of_its_kind: Any) -> Style:
    """The entry; stages the style's pictures.

    Args:
        details: how the style is called and shown.
        stage: where the pictures go.
        of_its_kind: `kind`, `rank`, `source_sha256`, and what an external or a merged style has.
    """

    def staged(kind: str, picture: Path) -> FileRef:
        stem = f"styles/{kind}-{details.name}"
        return stage.add(stem, picture.suffix.lower(), picture.read_bytes())

    return Style(
        name=details.name,
        title=details.title,
        trigger_words=details.trigger_words,
        description=details.description,
        license=details.license,
        strength=details.strength,
        negative_prompt=details.negative_prompt,
        templates=details.templates,
        thumbnail=staged("thumb", details.picture) if details.picture else None,
        examples=[staged("example", path) for path in details.examples],
        **of_its_kind,
    )
