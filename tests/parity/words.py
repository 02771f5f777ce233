"""Prompts in A1111's syntax: rows of tokens, and embeddings, in Python and in the browser."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from exporter.export import StyleRequest, export
from exporter.progress import silent
from runtime.bundle import Bundle
from runtime.styles import choose_styles
from runtime.text import TextEncoder
from tests.browser import Job, run_jobs
from tests.parity.promises import Measured
from tests.parity.reference import Reference, merged, relative_error, weighted_states
from tests.parity.world import MODELS, World
from tests.tiny import random_lora, tiny_pipeline

Chunks = list[list[tuple[str, float]]]
STRENGTHS = {"accent": 0.7, "speech": -0.4}
MERGED = 0.8

# Prompts whose rows of tokens must be the same in both languages.
PROMPTS = [
    "",
    "a castle, (clouds:1.3), [green hills], ((day))",
    r"a \(castle\) (left [open, 3:4 (x:1.2.3) \\",
    "a windmill, fog, green hills " * 40,
    "(a castle, " * 30,
    "a castle BREAK (a windmill BREAK fog:0.7), BREAK",
    "一座城堡, (白云:1.2), naïve (café) 🏰, <|endoftext|>",
]
# Prompts whose parts and chunks are written out, so that nothing of ours is in the reference.
LONG = "x y, " * 25  # 75 tokens of any CLIP tokenizer
WORDS: dict[str, tuple[str, Chunks]] = {
    "plain": ("a castle, clouds", [[("a castle, clouds", 1)]]),
    "weighted": (
        "a (castle:1.3), [fog], ((hill))",
        [[("a", 1), ("castle", 1.3), (",", 1), ("fog", 1 / 1.1), (",", 1), ("hill", 1.21)]],
    ),
    "long": (f"{LONG}(day:1.2)", [[(LONG, 1)], [("day", 1.2)]]),
    "parted": ("(castle BREAK day:0.6)", [[("castle", 0.6)], [("day", 0.6)]]),
}
NEGATIVE = "fog"


@dataclass
class Case:
    """A prompt, how it is read, and with which styles."""

    name: str
    clip_skip: int = 0
    styles: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        styles = " + ".join(f"{name} {strength}" for name, strength in self.styles.items())
        return f"{self.name}, clip skip {self.clip_skip}, {styles or 'no style'}"

    def job(self, key: str, threads: int) -> Job:
        return {
            "kind": "text",
            "id": key,
            "providers": [{"provider": "wasm", "compute": "fp32", "threads": threads}],
            "request": {
                "prompt": WORDS[self.name][0],
                "negativePrompt": NEGATIVE,
                "clipSkip": self.clip_skip,
                "styles": [{"name": name, "te": te} for name, te in self.styles.items()],
            },
        }


def words(world: World) -> Iterator[Measured]:
    """Rows of tokens, then embeddings of the embedded model, and of a tiny one with styles.

    The embedded model's states have next to no mean, which is then not restored; the tiny one's is.
    """
    yield from _rows(world)
    reference = Reference(MODELS / "base")
    asked = [(reference, Case(name, skip)) for name in WORDS for skip in (0, 1)]
    yield from _embeddings(world.bundle, asked, restores_mean=False)

    folder = world.folder / "words"
    base = tiny_pipeline(folder / "tiny")
    loras = {
        "accent": random_lora(base, folder / "accent.safetensors", ["lora_unet", "lora_te"], 1),
        "speech": random_lora(base, folder / "speech.safetensors", ["lora_te"], 2),
    }
    for path in loras.values():
        export(base, folder / "dist", silent, StyleRequest(path, "external"))
    export(base, folder / "dist", silent, StyleRequest(loras["accent"], "merged", strength=MERGED))
    cases = [Case(name, skip, STRENGTHS) for name in ("plain", "weighted") for skip in (0, 2)]
    cases += [Case("long"), Case("long", 1, {"accent": 0.7})]
    reference = Reference(base, loras)
    asked = [(reference, case) for case in cases]
    fused = merged(base, loras["accent"], MERGED)
    asked += [(fused, Case("weighted", skip, {"accent-merged": MERGED})) for skip in (0, 1)]
    yield from _embeddings(folder / "dist", asked, restores_mean=True)


def _rows(world: World) -> Iterator[Measured]:
    job = {"kind": "tokens", "id": "rows", "prompts": PROMPTS}
    _, browser = run_jobs(world.bundle, [job], {})["rows"]
    wrong = 0
    for i, prompt in enumerate(PROMPTS):
        rows = world.pipeline.text_encoder.rows(prompt)
        ids, weights = browser[f"rows_{i}"], browser[f"weights_{i}"]
        same = ids.shape == (len(rows), 77) and (ids == [row.ids for row in rows]).all()
        expected = np.array([row.weights for row in rows], np.float32)
        wrong += not (same and np.allclose(weights, expected, rtol=1e-6, atol=0))
    yield Measured("tokens", "browser", f"weighted rows of {len(PROMPTS)} prompts", wrong)


def _embeddings(
    folder: Path, asked: list[tuple[Reference, Case]], *, restores_mean: bool
) -> Iterator[Measured]:
    bundle = Bundle.open(folder)
    half = len(asked) // 2  # the others with two threads, in another worker
    jobs = [case.job(str(i), 1 if i < half else 2) for i, (_, case) in enumerate(asked)]
    found = run_jobs(folder, jobs, {})
    for i, (reference, case) in enumerate(asked):
        prompt, chunks = WORDS[case.name]
        reference.style(case.styles)
        options = {"clip_skip": case.clip_skip, "restores_mean": restores_mean}
        negative: Chunks = [[(NEGATIVE, 1)], *[[("", 1)]] * (len(chunks) - 1)]
        expected = np.concatenate(
            [weighted_states(reference.pipeline, one, **options) for one in (chunks, negative)]
        )
        plan = choose_styles(bundle, case.styles)
        encoder = TextEncoder(bundle, plan.variant)
        ours = encoder.encode([prompt, NEGATIVE], plan.text_inputs(), case.clip_skip)
        yield Measured("words", "onnxruntime", str(case), relative_error(ours, expected))
        _, browser = found[str(i)]
        theirs = np.concatenate([browser["prompt_embeds"], browser["negative_prompt_embeds"]])
        yield Measured("words", "browser", str(case), relative_error(theirs, expected))
