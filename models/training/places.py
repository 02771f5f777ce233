"""Where the trainings keep their files."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent
WORK = MODELS / ".work"
BASE = MODELS / "base"
LORAS = MODELS / "loras"
CLASSIFIERS = MODELS / "classifiers"
