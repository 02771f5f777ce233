"""`python -m runtime verify BUNDLE` and `python -m runtime generate BUNDLE PROMPT`."""

from pathlib import Path
from typing import Annotated, cast

import typer
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from runtime.bundle import Bundle
from runtime.commands import progress_bar, run
from runtime.errors import BadFile, BrushletError
from runtime.files import replacing
from runtime.golden import check_golden
from runtime.manifest import Provider
from runtime.pipeline import Pipeline
from runtime.styles import Strengths, add_up
from runtime.tensors import Float32
from runtime.unet import UNet
from runtime.writing import require_writable, writing

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(stderr=True)

_NO_PLACE = "free some space there, see to its permissions, or give another file with --out"

Folder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder with a manifest.json")]


@app.command()
def verify(folder: Folder) -> None:
    """Check size and SHA-256 of every file, and all graphs for the CPU against golden vectors."""
    bundle = Bundle.open(folder)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("{task.description}", *columns, console=console) as progress:
        task = progress.add_task("hashing", total=None)
        bundle.verify(lambda done, total: progress.update(task, completed=done, total=total))
    for variant in bundle.manifest.unet:
        if variant.golden is None:
            typer.echo(f"{variant.name}: the base's graphs with other weights")
            continue
        graphs = [graph for graph in variant.graphs if "cpu" in graph.providers]
        for graph in graphs or [bundle.graph(variant)]:  # which tells that there is none
            error = check_golden(bundle, UNet(bundle, variant, graph=graph))
            kind = f"{graph.compute}, {graph.attention} attention"
            typer.echo(f"{variant.name} ({kind}): {error:.1e} from PyTorch")
    typer.echo(f"{len(bundle.files())} files are as the manifest says")


@app.command()
def generate(
    folder: Folder,
    prompt: Annotated[
        str,
        typer.Argument(help="what to draw; (word:1.2), \\[word] and <lora:name:0.8> as in A1111"),
    ],
    out: Annotated[Path, typer.Option(help="picture to write, PNG or WebP")] = Path("picture.png"),
    style: Annotated[
        list[str] | None,
        typer.Option(help="NAME, NAME:STRENGTH or NAME:TE:UNET; repeatable, and then adds up"),
    ] = None,
    negative: Annotated[str, typer.Option(help="what not to draw")] = "",
    seed: Annotated[int, typer.Option(help="same seed, same picture")] = 0,
    steps: Annotated[
        int | None, typer.Option(help="default: what the base advises, else the sampler's", min=1)
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="how strictly to follow the prompt; default: the base's")
    ] = None,
    guidance_range: Annotated[
        str, typer.Option(help="the part of the run that is guided, for example 0.2:0.8")
    ] = "0:1",
    cache_interval: Annotated[
        int, typer.Option(help="compute the UNet's inner layers on every so many steps only")
    ] = 1,
    sampler: Annotated[
        str | None, typer.Option(help="default: what the base advises, else the bundle's first")
    ] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels, multiples of 8")] = None,
    clip_skip: Annotated[
        int, typer.Option(help="text encoder layers left out at the end; A1111's number less 1")
    ] = 0,
    count: Annotated[
        int,
        typer.Option(help="pictures, seed by seed from --seed on, named by it", min=1),
    ] = 1,
    image: Annotated[
        Path | None, typer.Option(help="what to begin over, or what an inpainting base paints into")
    ] = None,
    image_strength: Annotated[
        float | None, typer.Option(help="how far to leave the picture, above 0 to 1; default 0.6")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="a picture that is white where to paint")
    ] = None,
    provider: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Draw a picture, or several."""
    bundle = Bundle.open(folder)
    picture_format = _format(out)
    if provider not in ("cpu", "cuda"):
        raise BrushletError(f"no provider {provider!r}", where="--provider", todo="cpu or cuda")
    pipeline = Pipeline(bundle, cast(Provider, provider))
    styles = add_up(*(_style(text, bundle) for text in style or []))
    pictures: dict[Path, int] = {out: seed}
    if count > 1:
        seeds = range(seed, seed + count)
        pictures = {out.with_stem(f"{out.stem}-{one}"): one for one in seeds}
    guided = _fractions(guidance_range)
    wanted_size = _size(size) if size else None
    begun = _picture(image) if image else None
    masked = _picture(mask) if mask else None
    require_writable(out, _NO_PLACE)
    for path, one in pictures.items():
        with progress_bar() as progress:
            task = progress.add_task("denoising", total=None)

            def on_step(
                done: int, total: int, _: Float32, bar: Progress = progress, task: TaskID = task
            ) -> None:
                bar.update(task, completed=done, total=total)

            picture = pipeline.generate(
                prompt,
                negative_prompt=negative,
                styles=styles,
                seed=one,
                steps=steps,
                guidance_scale=guidance,
                guidance_range=guided,
                cache_interval=cache_interval,
                sampler=sampler,
                size=wanted_size,
                clip_skip=clip_skip,
                image=begun,
                image_strength=image_strength,
                mask=masked,
                on_step=on_step,
            )
        with writing(path, _NO_PLACE), replacing(path) as temporary:
            picture.image.save(temporary, picture_format)
        typer.echo(path)


def _style(text: str, bundle: Bundle) -> dict[str, Strengths]:
    name, *numbers = text.split(":")
    style = bundle.style(name)
    if not numbers:
        fixed = style.merged_strength
        numbers = [str(style.strength.default if fixed is None else fixed)]
    try:
        te, unet = map(float, numbers * 2 if len(numbers) == 1 else numbers)
    except ValueError:
        todo = "write NAME:STRENGTH or NAME:TE:UNET, for example miyazaki:0.8"
        raise BrushletError(f"{text!r} has no strength", where="--style", todo=todo) from None
    return {name: Strengths(unet, te)}


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        todo = "write WIDTHxHEIGHT, for example 128x128"
        raise BrushletError(f"{text!r} is no size", where="--size", todo=todo) from None
    return width, height


def _fractions(text: str) -> tuple[float, float]:
    try:
        begin, end = map(float, text.split(":"))
    except ValueError:
        todo = "write FROM:TO, fractions of the run, for example 0.2:0.8"
        raise BrushletError(f"{text!r} is no range", where="--guidance-range", todo=todo) from None
    return begin, end


def _picture(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            return ImageOps.exif_transpose(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        todo = "give a PNG, JPEG or WebP file"
        raise BadFile(f"does not open as a picture ({error})", where=str(path), todo=todo) from None


def _format(path: Path) -> str:
    formats = {".png": "PNG", ".webp": "WEBP"}
    if path.suffix.lower() not in formats:
        todo = "use .png or .webp"
        raise BrushletError(f"{path.name} has no picture suffix", where="--out", todo=todo)
    return formats[path.suffix.lower()]


if __name__ == "__main__":
    run(app)
