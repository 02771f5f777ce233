"""`python -m runtime verify BUNDLE` and `python -m runtime generate BUNDLE PROMPT`."""

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from runtime.bundle import Bundle
from runtime.commands import progress_bar, run
from runtime.errors import BrushletError
from runtime.files import replacing
from runtime.golden import check_golden
from runtime.manifest import Provider
from runtime.pipeline import GUIDANCE_SCALE, Pipeline
from runtime.tensors import Float32

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)

Folder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder with a manifest.json")]


@app.command()
def verify(folder: Folder) -> None:
    """Check size and SHA-256 of every file, and each CPU graph against its golden vector."""
    bundle = Bundle.open(folder)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("{task.description}", *columns, console=console) as progress:
        task = progress.add_task("hashing", total=None)
        bundle.verify(lambda done, total: progress.update(task, completed=done, total=total))
    for variant in bundle.manifest.unet:
        graph = bundle.graph(variant)
        error = check_golden(bundle, variant, graph, bundle.session(graph))
        typer.echo(f"{variant.name} ({graph.compute}): {error:.1e} from PyTorch")
    typer.echo(f"{len(bundle.files())} files are as the manifest says")


@app.command()
def generate(
    folder: Folder,
    prompt: Annotated[str, typer.Argument(help="what to draw")],
    out: Annotated[Path, typer.Option(help="picture to write, PNG or WebP")] = Path("picture.png"),
    style: Annotated[list[str] | None, typer.Option(help="NAME or NAME:STRENGTH")] = None,
    negative: Annotated[str, typer.Option(help="what not to draw")] = "",
    seed: Annotated[int, typer.Option(help="same seed, same picture")] = 0,
    steps: Annotated[int | None, typer.Option(help="default: the sampler's", min=1)] = None,
    guidance: Annotated[
        float, typer.Option(help="how strictly to follow the prompt")
    ] = GUIDANCE_SCALE,
    sampler: Annotated[str | None, typer.Option(help="default: the bundle's first")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels")] = None,
    provider: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Draw a picture."""
    bundle = Bundle.open(folder)
    picture_format = _format(out)
    if provider not in ("cpu", "cuda"):
        raise BrushletError(f"no provider {provider!r}", where="--provider", todo="cpu or cuda")
    pipeline = Pipeline(bundle, cast(Provider, provider))
    styles = dict(_style(text, bundle) for text in style or [])
    for text in (prompt, negative):
        if cut := pipeline.text_encoder.tokenize(text).cut:
            limit = bundle.manifest.tokenizer.max_length - 2
            console.print(f"note: only the first {limit} tokens are read, {cut} were cut off")
    with progress_bar() as progress:
        task = progress.add_task("denoising", total=None)

        def on_step(done: int, total: int, latents: Float32) -> None:
            progress.update(task, completed=done, total=total)

        picture = pipeline.generate(
            prompt,
            negative_prompt=negative,
            styles=styles,
            seed=seed,
            steps=steps,
            guidance_scale=guidance,
            sampler=sampler,
            size=_size(size) if size else None,
            on_step=on_step,
        )
    with replacing(out) as temporary:
        picture.image.save(temporary, picture_format)
    typer.echo(out)


def _style(text: str, bundle: Bundle) -> tuple[str, float]:
    name, _, strength = text.partition(":")
    style = bundle.style(name)
    try:
        return name, float(
            strength
        ) if strength else style.merged_strength or style.strength.default
    except ValueError:
        todo = "write NAME:STRENGTH, for example miyazaki:0.8"
        raise BrushletError(f"{text!r} has no strength", where="--style", todo=todo) from None


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        todo = "write WIDTHxHEIGHT, for example 128x128"
        raise BrushletError(f"{text!r} is no size", where="--size", todo=todo) from None
    return width, height


def _format(path: Path) -> str:
    formats = {".png": "PNG", ".webp": "WEBP"}
    if path.suffix.lower() not in formats:
        todo = "use .png or .webp"
        raise BrushletError(f"{path.name} has no picture suffix", where="--out", todo=todo)
    return formats[path.suffix.lower()]


if __name__ == "__main__":
    run(app)
