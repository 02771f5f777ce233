"""`python -m exporter`: the commands `base`, `export`, `inspect`, `sidecar` and `dist`."""

if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until a command runs: no traceback of imports

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from exporter.bases import find_base
from exporter.export import Mode
from exporter.export import export as run_export
from exporter.formats import Format, checked_mode, export_as, find_source
from exporter.inspection import inspect as inspect_file
from exporter.inspection import show as show_inspection
from exporter.interrupts import interruptible
from exporter.progress import showing
from exporter.publish import SiteSettings, publish
from exporter.publish_report import show
from exporter.report import show_report
from exporter.sidecar import parse_templates, show_sidecar, update_sidecar
from runtime.bundle import Bundle
from runtime.commands import run
from runtime.manifest import MANIFEST_NAME, Dtype

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Base = Annotated[
    str, typer.Option(help="diffusers folder, .safetensors checkpoint, or Hugging Face id")
]
BaseConfig = Annotated[
    Path | None,
    typer.Option(help="diffusers folder that says how a checkpoint is built; default: the hub's"),
]
Out = Annotated[Path, typer.Option(help="the bundle's folder")]
Slots = Annotated[
    Literal["attn", "transformer", "full"] | None,
    typer.Option(help="where LoRAs can attach; full: LoCon's convolutions too"),
]
StoredAs = Annotated[
    Dtype | None,
    typer.Option(help="how the UNet's weights are stored; q8, q4: its projections in 8 or 4 bits"),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="export the base again")]


@app.command()
def base(
    base: Base = "models/base",
    base_config: BaseConfig = None,
    out: Out = Path("dist"),
    slots: Slots = None,
    dtype: StoredAs = None,
    fresh: Fresh = False,
) -> None:
    """Exports the base model alone."""
    with interruptible(out), showing() as step:
        found = find_base(base, base_config, step)
        outcome = run_export(found, out, step, fresh=fresh, slot_set=slots, dtype=dtype)
    show_report(outcome, str(out), Console())


@app.command()
def export(
    lora: Annotated[
        str | None,
        typer.Option(help="name under models/loras/, or a path; several: a:0.7,b:0.4"),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="JSON that puts a style together from LoRAs")
    ] = None,
    format: Annotated[
        Format,
        typer.Option(help="a bundle for the browser, Optimum's layout, or an .onnx_adapter"),
    ] = "bundle",
    mode: Annotated[
        Mode | None,
        typer.Option(help="a style pack with a strength slider, or a UNet of its own"),
    ] = None,
    out: Annotated[Path, typer.Option(help="the folder to write")] = Path("dist"),
    base: Base = "models/base",
    base_config: BaseConfig = None,
    strength: Annotated[
        float | None,
        typer.Option(help="of the merge (default 1.0), or where an external slider starts"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="the style's name; default: the file's, merged: -merged")
    ] = None,
    slots: Slots = None,
    dtype: StoredAs = None,
    fresh: Fresh = False,
    examples: Annotated[
        bool,
        typer.Option(
            "--examples",
            help="draw the thumbnail and three examples that the style lacks: a second a picture"
            " with the embedded base, minutes with a large one",
        ),
    ] = False,
) -> None:
    """Exports LoRAs as a style, and the base model if `out` does not have it."""
    form = checked_mode(format, mode)
    source, strength = find_source(format, lora, recipe, strength)
    with interruptible(out), showing() as step:
        found = find_base(base, base_config, step)
        report = export_as(
            format,
            found,
            out,
            step,
            source,
            mode=form,
            name=name,
            strength=strength,
            slot_set=slots,
            dtype=dtype,
            fresh=fresh,
            examples=examples,
        )
    show_report(report, str(out), Console())


@app.command()
def sidecar(
    file: Annotated[Path, typer.Argument(help="a LoRA .safetensors")],
    activation_text: Annotated[
        str | None, typer.Option(help="trigger words, separated by commas")
    ] = None,
    preferred_weight: Annotated[float | None, typer.Option(help="0: none")] = None,
    negative_text: Annotated[
        str | None, typer.Option(help="what a negative prompt should hold")
    ] = None,
    description: Annotated[str | None, typer.Option(help="shown with the style")] = None,
    notes: Annotated[str | None, typer.Option(help="for those who use the file")] = None,
    sd_version: Annotated[str | None, typer.Option(help="SD1, SD2 ...")] = None,
    preview: Annotated[
        Path | None, typer.Option(help="a picture, which is copied beside the file")
    ] = None,
    example: Annotated[
        list[Path] | None,
        typer.Option(help="a picture drawn with it, copied beside the file; up to three times"),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(help="TITLE=PROMPT, in one click; {trigger} stands for the trigger words"),
    ] = None,
) -> None:
    """Creates or changes what lies beside a LoRA in the A1111 form, and shows it."""
    given = {
        "activation_text": activation_text,
        "preferred_weight": preferred_weight,
        "negative_text": negative_text,
        "description": description,
        "notes": notes,
        "sd_version": sd_version,
        "templates": parse_templates(template) if template else None,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    show_sidecar(file, update_sidecar(file, changes, preview, example or []), Console())


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="a LoRA .safetensors")],
    bundle: Annotated[
        Path | None, typer.Option(help="a bundle whose slots it is held against; default: dist")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Tells what a LoRA file is: kinds, ranks, base, trigger words, and what a base makes of it."""
    default = Path("dist")
    folder = default if bundle is None and (default / MANIFEST_NAME).is_file() else bundle
    found = inspect_file(file, Bundle.open(folder) if folder else None)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        show_inspection(found, Console())


@app.command()
def dist(
    bundle: Annotated[Path, typer.Option(help="folder with a manifest.json")] = Path("dist"),
    page: Annotated[Path, typer.Option(help="folder with the built page")] = Path("web/dist"),
    out: Annotated[Path, typer.Option(help="the site's folder")] = Path("site"),
    server: Annotated[
        str, typer.Option(help="address of the brushlet server; none: beside the page")
    ] = "",
    allow_origin: Annotated[
        str, typer.Option(help="another site whose pages may load the bundle, or * for any")
    ] = "",
    isolate: Annotated[
        bool, typer.Option(help="let a service worker isolate the page where the host does not")
    ] = True,
    quality: Annotated[
        int, typer.Option(min=0, max=11, help="Brotli's; 9 takes a tenth of the time")
    ] = 11,
) -> None:
    """Gathers bundle and page into one static folder for a web server or a CDN."""
    settings = SiteSettings(server, allow_origin, isolate, quality)
    with (
        interruptible(out, "is a site that works, with the old bundle or the new"),
        showing() as step,
    ):
        report = publish(bundle, page, out, settings, step)
    show(report, str(out), Console())


if __name__ == "__main__":
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # it reports its packaging on import
    run(app)
