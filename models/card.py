"""What was measured, as the model card says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import BrushletError
from runtime.files import write_whole

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
        f" ({settings['style_captions']} of them for what a LoRA draws at 1.0, the first"
        f" {settings['sweep_captions']} for its scores along the strengths), {settings['steps']}"
        f" {settings['scheduler']} steps, guidance {settings['guidance_scale']:g}, fixed seeds"
        " ([report.json](report.json)):",
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
        f"The judge's score of each style, its mean over {settings['sweep_captions']} captions, at"
        f" the strengths {', '.join(map(str, strengths))}:",
        "",
    ]
    for style, result in report["loras"].items():
        scores = ", ".join(f"{score:.2f}" for score in result["score_by_strength"].values())
        lines.append(f"- {style}: {scores}")
    lines += [
        "",
        f"What is still right with a LoRA at 1.0, over {settings['style_captions']} captions"
        " (measured, not promised):",
        "",
    ]
    for style, result in report["loras"].items():
        lines.append(f"- {style}: {_shares(result['content_at_1'])}")
    judged = f"The judge on {judge['drawn_scenes']} held-out drawn scenes"
    lines += ["", f"{judged}: {_shares(judge['accuracy'])}."]
    return "\n".join(lines)


def _shares(right: Mapping[str, float]) -> str:
    return ", ".join(f"{head} {share:.1%}" for head, share in right.items())


def write_card(text: str, path: Path) -> None:
    """Put `text` between the card's two marks."""
    before, opening, rest = path.read_text().partition(OPENING)
    _, closing, after = rest.partition(CLOSING)
    if not (opening and closing):
        raise BrushletError("has lost the marks of the report", where=str(path), todo=OPENING)
    write_whole(path, f"{before}{opening}\n{text}\n{closing}{after}".encode())
