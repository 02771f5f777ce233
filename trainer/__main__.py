"""The command `python -m trainer`."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from runtime.commands import run
from runtime.errors import BrushletError
from trainer.config import TrainConfig, make_config, parse_assignments, read_toml
from trainer.presets import draw_dataset, preset
from trainer.progress import Stop

DRAWN = Path(".work/datasets")
LORAS = Path("models/loras")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    name: Annotated[
        str, typer.Argument(help="The style: miyazaki, gothic, cyberpunk, or a name of your own.")
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures with metadata.jsonl or .txt captions."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Base model: diffusers folder, Hugging Face id or .safetensors file."),
    ] = None,
    base_config: Annotated[
        Path | None,
        typer.Option(help="Diffusers folder that says how a .safetensors base is built."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="LoRA file to write  \\[default: models/loras/NAME]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting as KEY=VALUE; may be given again and again."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin again even if a training was interrupted.")
    ] = False,
    settings: Annotated[
        bool, typer.Option("--settings", help="List every setting with its default, and end.")
    ] = False,
) -> None:
    """Train a LoRA on a folder of captioned pictures.

    Ctrl-C saves the state; the same command then goes on.
    """
    console = Console()
    if settings:
        console.print(settings_table())
        return
    given = {
        "name": name or None,
        "data": data,
        "base": base,
        "base_config": base_config,
        "out": out,
    }
    _train(console, given, config, assignments or [], restart)


def _train(
    console: Console,
    given: Mapping[str, object],
    file: Path | None,
    assignments: list[str],
    restart: bool,
) -> None:
    values: dict[str, object] = {
        **(read_toml(file) if file else {}),
        **{key: value for key, value in given.items() if value is not None},
        **parse_assignments(assignments),
    }
    name = str(values.get("name", ""))
    if not name:
        raise BrushletError("which style?", todo="for example: python -m trainer miyazaki")
    values = {"out": LORAS / f"{name}.safetensors", **values}
    if "data" in values:
        checked = make_config(values)
    else:
        checked = make_config({**preset(name), "data": DRAWN / name, **values})
        draw_dataset(name, checked.data)

    from trainer.train import train  # torch and diffusers take seconds to import

    began = time.monotonic()
    trained = train(checked, console, Stop(), restart=restart)
    size = checked.out.stat().st_size / 1000
    took = duration(time.monotonic() - began)
    console.print(f"{checked.out} ({size:.0f} kB), mean loss {trained.loss:.4f}, in {took}")


def duration(seconds: float) -> str:
    """`42 s` or `4 min 29 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def settings_table() -> Table:
    """Every key of `TrainConfig` with its default and meaning."""
    table = Table("setting", "default", "meaning")
    for key, field in TrainConfig.model_fields.items():
        default = "" if field.is_required() else str(field.default)
        table.add_row(key, default, field.description or "")
    return table


if __name__ == "__main__":
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # it reports its packaging on import
    run(app)
