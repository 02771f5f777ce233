"""What a person asks `export` for, checked, and the format that does it."""

from pathlib import Path
from typing import Literal

from exporter.bases import Base
from exporter.blend import Blend, parse_loras, read_mixture
from exporter.details import check_name, check_strength
from exporter.export import Mode, StyleRequest, export
from exporter.folder import refuse_foreign
from exporter.progress import Step
from exporter.recipe import read_recipe
from exporter.report import Report
from exporter.slots import SlotSet
from exporter.staging import told
from runtime.errors import BrushletError
from runtime.manifest import Dtype

Format = Literal["bundle", "optimum", "adapter"]
_ONLY: dict[Format, Mode] = {"optimum": "merged", "adapter": "external"}


def find_source(
    form: Format, lora: str | None, recipe: Path | None, strength: float | None
) -> tuple[Path | Blend | None, float | None]:
    """The LoRAs that were named, and the strength: `a:0.7` says what `--strength 0.7` says.

    Raises:
        BadFile: the recipe is not what it should be.
        BrushletError: there is no such LoRA, or two things were said that cannot both be.
    """
    if lora and recipe:
        todo = "give one of them"
        raise BrushletError("both RECIPE= and LORA= name LoRAs", where="--recipe", todo=todo)
    if recipe:
        return read_recipe(recipe), strength
    if not lora and form == "optimum":
        return None, strength
    if not lora:
        todo = "give LORA= (--lora) or RECIPE= (--recipe); `python -m exporter base` exports none"
        raise BrushletError("no LoRA was named", where=f"FORMAT={form}", todo=todo)
    source, weight = parse_loras(lora)
    if weight is not None and strength not in (None, weight):
        what = f"the strength is {weight:g} in LORA= and {strength:g} in STRENGTH="
        raise BrushletError(what, where=lora, todo="give one of them")
    return source, strength if weight is None else weight


def checked_mode(form: Format, mode: Mode | None) -> Mode:
    """The mode of a format; the format's own where none was asked for.

    Raises:
        BrushletError: the format cannot be of that mode.
    """
    only = _ONLY.get(form)
    if only and mode not in (None, only):
        reason = "has no LoRA inputs" if form == "optimum" else "holds nothing but LoRA tensors"
        what = f"FORMAT={form} {reason}, so it cannot be of MODE={mode}"
        others = "adapter or bundle" if form == "optimum" else "optimum or bundle"
        todo = f"leave MODE= out for MODE={only}, or choose FORMAT={others}"
        raise BrushletError(what, where="--mode", todo=todo)
    return only or mode or "external"


def _check_dtype(form: Format, dtype: Dtype | None) -> None:
    if form != "bundle" and dtype not in (None, "fp16"):
        what = f"FORMAT={form} stores weights as fp16, so DTYPE={dtype} is none of its choices"
        todo = "leave DTYPE= out, or choose FORMAT=bundle"
        raise BrushletError(what, where="--dtype", todo=todo)


def _check_folder(out: Path, form: Literal["optimum", "adapter"]) -> None:
    with told(out):
        refuse_foreign(out, form)


def export_as(
    form: Format,
    base: Base,
    out: Path,
    step: Step,
    source: Path | Blend | None,
    *,
    mode: Mode,
    name: str | None = None,
    strength: float | None = None,
    slot_set: SlotSet | None = None,
    dtype: Dtype | None = None,
    fresh: bool = False,
    examples: bool = False,
) -> Report:
    """Exports LoRAs in a format.

    Raises:
        BrushletError: as `export`, `export_optimum` and `export_adapter`.
    """
    _check_dtype(form, dtype)
    check_strength(strength)
    if form == "optimum" and slot_set not in (None, "full"):
        what = f"FORMAT=optimum has no slots, so LoRAs may change any layer, not only {slot_set}'s"
        raise BrushletError(what, where="--slots", todo="leave SLOTS= out")
    if form == "optimum" and name is not None:
        todo = "leave --name out"
        raise BrushletError("Optimum's layout holds no styles to name", where="--name", todo=todo)
    if form != "bundle" and examples:
        todo = "leave EXAMPLES= (--examples) out"
        raise BrushletError(f"FORMAT={form} shows no pictures", where="--examples", todo=todo)
    if form == "bundle":
        assert source is not None
        style = StyleRequest(source, mode, name, strength, examples)
        return export(base, out, step, style, fresh, slot_set, dtype)
    mixture = read_mixture(source) if source else None
    factor = 1.0 if strength is None else strength
    # The formats are imported late because they import torch, which an export into a bundle may do
    # without, and which takes a while: what is wrong with a request is told before.
    if form == "optimum":
        _check_folder(out, form)
        from exporter.optimum_format import export_optimum

        return export_optimum(base, out, step, mixture, factor)
    assert mixture is not None
    details = mixture.details(name)
    check_name(details.name)
    _check_folder(out, form)
    from exporter.adapter_format import export_adapter

    return export_adapter(base, out, step, mixture, details, factor, slot_set, fresh)
