"""Measure the embedded model against its promises and draw a contact sheet.

    python -m models.report [--count 200] [--style-count 200] [--sweep-count 50] [--out models]

Everything is seed-fixed and held out: captions whose combination of words was never trained on,
judged by `models.classifiers`. Writes `report.json` with the SHA-256 of what was judged,
`report.png` and the figures of the model card; ends with exit code 1 and the list of missed
targets when one is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.card import Target, card, write_card
from models.classifiers import HEADS, Judge, load_judge
from models.scenes import STYLES, Scene, draw, styled
from runtime.digests import model_files
from runtime.files import sha256_file

MODELS = Path(__file__).resolve().parent
STEPS, GUIDANCE = 25, 4.0
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
CAPTION_SEED, PSNR_SEED = 910_000_000, 920_000_000
BATCH = 20
LEAST_RISE = 0.5
Pictures = NDArray[np.uint8]


def held_out_scenes(count: int, seed: int) -> list[Scene]:
    """`count` scenes of different captions, none of which the trainings saw."""
    scenes: dict[str, Scene] = {}
    while len(scenes) < count:
        scene = Scene.sample(seed, "held_out")
        scenes.setdefault(scene.caption(), scene)
        seed += 1
    return list(scenes.values())


def load_pipeline(base: Path) -> StableDiffusionPipeline:
    """The pipeline with its fp16 weights, computing in fp32, under DDIM."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        base, safety_checker=None, torch_dtype=torch.float32
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(
    pipeline: StableDiffusionPipeline,
    prompts: list[str],
    progress: Progress | None = None,
    steps: int = STEPS,
) -> Pictures:
    """Draw one picture a prompt, uint8 [count, 128, 128, 3]; prompt i starts from seed i."""
    parts: list[Pictures] = []
    task = progress.add_task("", total=len(prompts)) if progress else None
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        seeds = [torch.Generator("cpu").manual_seed(start + i) for i in range(len(batch))]
        drawn = pipeline(
            batch,
            height=128,
            width=128,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=seeds,
            output_type="np",
        ).images
        parts.append(np.rint(drawn * 255).astype(np.uint8))
        if progress and task is not None:
            progress.update(task, advance=len(batch), description=batch[0][:40])
    if progress and task is not None:
        progress.remove_task(task)
    return np.concatenate(parts)


def share_right(judge: Judge, pictures: Pictures, scenes: list[Scene]) -> dict[str, float]:
    """Share of pictures in which the judge sees the time, ground and object of the caption."""
    said = judge.judge(pictures)
    return {
        head: float(
            np.mean(
                [
                    word == getattr(scene, head)
                    for word, scene in zip(said[head], scenes, strict=True)
                ]
            )
        )
        for head in ("time", "ground", "object")
    }


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, style: str | None, count: int) -> float:
    """Mean PSNR in dB of `count` held-out scenes after one trip through the autoencoder."""
    values: list[float] = []
    for scene in held_out_scenes(count, PSNR_SEED):
        wanted = torch.from_numpy(draw(scene, style)).permute(2, 0, 1)[None].float() / 127.5 - 1
        drawn = vae.decode(vae.encode(wanted).latent_dist.mode()).sample.clamp(-1, 1)
        mse = ((drawn - wanted) / 2).square().mean().item()
        values.append(-10 * float(np.log10(mse)))
    return float(np.mean(values))


def measure_style(
    pipeline: StableDiffusionPipeline,
    judge: Judge,
    lora: Path,
    scenes: list[Scene],
    sweep_count: int,
    progress: Progress,
) -> tuple[dict[str, Any], Pictures]:
    """How surely the judge names the LoRA's style, at full strength and along the strengths."""
    style = lora.stem
    column = HEADS["style"].index(style)
    pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name, adapter_name=style)
    scores: dict[str, float] = {}
    full = np.empty((0, 128, 128, 3), np.uint8)
    prompts = [styled(scene.caption(), style) for scene in scenes]
    for strength in STRENGTHS:
        pipeline.set_adapters([style], [strength])
        full = paint(pipeline, prompts if strength == 1 else prompts[:sweep_count], progress)
        likely = judge.probabilities(full[:sweep_count])["style"][:, column]
        scores[str(strength)] = round(float(likely.mean()), 4)
    pipeline.unload_lora_weights()
    named = float(np.mean([word == style for word in judge.judge(full)["style"]]))
    result = {"named_at_1": round(named, 4), "score_by_strength": scores}
    return result | {"content_at_1": share_right(judge, full, scenes)}, full


def targets_of(report: dict[str, Any]) -> list[Target]:
    """Every promise, with what the report measured."""
    targets = [
        Target(f"VAE, {style}", value, 31 if style == "plain" else 27, "dB")
        for style, value in report["vae_psnr_db"].items()
    ]
    for head, wanted in (("time", 0.9), ("ground", 0.9), ("object", 0.6)):
        targets.append(Target(f"base: {head} right", report["base"][head], wanted))
    for style in STYLES:
        if result := report["loras"].get(style):
            targets += _style_targets(style, result)
        else:
            targets.append(Target(f"{style}: a LoRA", 0, 1))
    return targets


def _style_targets(style: str, result: dict[str, Any]) -> list[Target]:
    scores = list(result["score_by_strength"].values())
    steps = [after - before for before, after in pairwise(scores)]
    return [
        Target(f"{style}: named at strength 1", result["named_at_1"], 0.9),
        Target(f"{style}: least step of the score along the strengths", min(steps), 0),
        Target(f"{style}: rise of the score from 0 to 1", scores[-1] - scores[0], LEAST_RISE),
    ]


def contact_sheet(rows: list[Pictures], path: Path) -> None:
    """Lay rows of pictures out as one PNG of 256 colours."""
    width = min(len(row) for row in rows)
    sheet = np.concatenate([np.concatenate(list(row[:width]), axis=1) for row in rows])
    image = Image.fromarray(sheet)
    image = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
    image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def folder_megabytes(folder: Path, pattern: str) -> float:
    """Size of the files of `folder` that match `pattern`, in 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file()) / 1e6


def digests(base: Path, loras: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of what is judged: every file that shapes the base's pictures, and each LoRA."""
    parts = {path.relative_to(base).as_posix(): path for path in model_files(base)}
    styles = {style: loras / f"{style}.safetensors" for style in STYLES}
    return {
        "base": {name: sha256_file(path) for name, path in parts.items()},
        "loras": {style: sha256_file(path) for style, path in styles.items() if path.exists()},
    }


def print_targets(console: Console, targets: list[Target]) -> None:
    """Show the promises and what was measured."""
    table = Table("promise", "wanted", "measured", "")
    for target in targets:
        wanted, value = f"{target.wanted:.2f} {target.unit}", f"{target.value:.3f} {target.unit}"
        table.add_row(target.name, wanted, value, "kept" if target.met else "MISSED")
    console.print(table)


def main() -> None:
    """Measure, write report.json and report.png, fail when a promise is missed."""
    parser = argparse.ArgumentParser(prog="python -m models.report", description=main.__doc__)
    parser.add_argument("--count", type=int, default=200, help="captions for the base model")
    parser.add_argument("--style-count", type=int, default=200, help="captions at strength 1")
    parser.add_argument("--sweep-count", type=int, default=50, help="captions at other strengths")
    parser.add_argument("--base", type=Path, default=MODELS / "base", help="pipeline to measure")
    parser.add_argument("--loras", type=Path, default=MODELS / "loras", help="folder of LoRAs")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder of the report")
    args = parser.parse_args()
    console = Console()
    pipeline, judge = load_pipeline(args.base), load_judge()
    scenes = held_out_scenes(args.count, CAPTION_SEED)
    report: dict[str, Any] = {
        "settings": {
            "captions": args.count,
            "style_captions": args.style_count,
            "sweep_captions": args.sweep_count,
            "steps": STEPS,
            "guidance_scale": GUIDANCE,
            "scheduler": "DDIM",
        },
        "sha256": digests(args.base, args.loras),
        "megabytes": {
            "base": round(folder_megabytes(args.base, "*"), 2),
            "loras": round(folder_megabytes(args.loras, "*.safetensors"), 2),
        },
        "judge": json.loads((MODELS / "classifiers" / "judge.json").read_text()),
        "vae_psnr_db": {},
        "loras": {},
    }
    for style in (None, *STYLES):
        value = reconstruction_psnr(pipeline.vae, style, args.count)
        report["vae_psnr_db"][style or "plain"] = round(value, 4)
    with Progress(console=console) as progress:
        pictures = paint(pipeline, [scene.caption() for scene in scenes], progress)
        rows = [pictures[:8], pictures[8:16]]
        report["base"] = share_right(judge, pictures, scenes)
        for style in STYLES:
            lora = args.loras / f"{style}.safetensors"
            if not lora.exists():
                continue
            chosen = scenes[: args.style_count]
            result, full = measure_style(pipeline, judge, lora, chosen, args.sweep_count, progress)
            report["loras"][style] = result
            rows.append(full[:8])
    targets = targets_of(report)
    missed = [target.name for target in targets if not target.met]
    report["missed"] = missed
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    contact_sheet(rows, args.out / "report.png")
    if args.out == MODELS:
        write_card(card(report, targets, STRENGTHS), MODELS / "README.md")
    print_targets(console, targets)
    if missed:
        console.print("missed: " + "; ".join(missed))
        sys.exit(1)


if __name__ == "__main__":
    main()
