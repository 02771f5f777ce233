"""What was measured, as the model card says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import BrushletError

OPENING, CLOSING = "<!-- report: written by `make model-report` -->", "<!-- /report -->"


@dataclass(frozen=True)
class Target:
    """One promise: `value` has to reach `wanted`."""

    name: str
    value: float
    wanted: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.value >= self.wanted


def card(report: dict[str, Any], targets: Sequence[Target], strengths: Sequence[float]) -> str:
    """The measured quality as the model card tells it, in Markdown."""
    settings, judge = report["settings"], report["judge"]
    lines = [
        f"Over {settings['captions']} captions whose combinations of words were held out"
        f" ({settings['style_captions']} with a LoRA at 1.0, {settings['sweep_captions']} at other"
        f" strengths), {settings['steps']} {settings['scheduler']} steps, guidance"
        f" {settings['guidance_scale']:g}, fixed seeds ([report.json](report.json)):",
        "",
        "| what | measured | wanted |",
        "| --- | --- | --- |",
    ]
    for target in targets:
        value, wanted = (f"{x:.2f} {target.unit}".strip() for x in (target.value, target.wanted))
        missed = "" if target.met else ", **missed**"
        lines.append(f"| {target.name} | {value} | >= {wanted}{missed} |")
    lines += [
        "",
        "The judge's score of each style at the strengths " + ", ".join(map(str, strengths)) + ":",
        "",
    ]
    for style, result in report["loras"].items():
        scores = ", ".join(f"{score:.2f}" for score in result["score_by_strength"].values())
        lines.append(f"- {style}: {scores}")
    rights = ", ".join(f"{head} {share:.1%}" for head, share in judge["accuracy"].items())
    lines += ["", f"The judge on {judge['drawn_scenes']} held-out drawn scenes: {rights}."]
    return "\n".join(lines)


def write_card(text: str, path: Path) -> None:
    """Put `text` between the card's two marks."""
    before, opening, rest = path.read_text().partition(OPENING)
    _, closing, after = rest.partition(CLOSING)
    if not (opening and closing):
        raise BrushletError("has lost the marks of the report", where=str(path), todo=OPENING)
    path.write_text(f"{before}{opening}\n{text}\n{closing}{after}")
