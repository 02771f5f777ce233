"""What a LoRA's makers say beside its file, in the A1111 form: `<stem>.json` and `<stem>.png`.

Beside them may lie `<stem>.example-1.png` to `-3`, pictures drawn with it.

The fields are those of AUTOMATIC1111's stable-diffusion-webui (`extensions-builtin/Lora`,
`ui_edit_user_metadata.py`). It writes 0 for a preferred weight that is not set.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Column, Table

from runtime.commands import plain
from runtime.errors import BadFile, BrushletError
from runtime.files import write_whole
from runtime.manifest import Template

# suffix -> how such a file begins; a WebP names itself at byte 8
_SIGNATURES = {
    ".png": b"\x89PNG\r\n\x1a\n",
    ".webp": b"RIFF",
    ".jpg": b"\xff\xd8\xff",
    ".jpeg": b"\xff\xd8\xff",
}
_MAKE_ONE = "save it as PNG, WebP or JPEG"
EXAMPLES = 3


class Sidecar(BaseModel):
    """The fields of a sidecar. Fields of other programs are kept as they are."""

    model_config = ConfigDict(
        extra="allow", frozen=True, strict=True, validate_by_name=True, validate_by_alias=True
    )

    description: str | None = None
    sd_version: str | None = Field(default=None, alias="sd version")
    activation_text: str | None = Field(default=None, alias="activation text")
    preferred_weight: float | None = Field(
        default=None, alias="preferred weight", allow_inf_nan=False
    )
    negative_text: str | None = Field(default=None, alias="negative text")
    notes: str | None = None
    templates: list[Template] | None = None  # no other program's

    @property
    def fields(self) -> dict[str, object]:
        """As the file has them: A1111's names, and only what is set."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def sidecar_path(lora: Path) -> Path:
    """Where the sidecar of a LoRA lies."""
    return lora.with_suffix(".json")


def read_sidecar(lora: Path) -> Sidecar:
    """The sidecar of a LoRA; an empty one where there is none.

    Raises:
        BadFile: it is not JSON of that form; the field is named.
    """
    path = sidecar_path(lora)
    if not path.is_file():
        return Sidecar()
    todo = "correct it, or move it away from the LoRA"
    try:
        fields = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise BadFile("is not JSON", where=str(path), todo=todo) from None
    if not isinstance(fields, dict):
        raise BadFile("is not a JSON object", where=str(path), todo=todo)
    return _checked(fields, str(path), todo)


def picture_beside(lora: Path) -> Path | None:
    """The picture that lies beside a LoRA, `<stem>.png` or `<stem>.preview.png`, or None."""
    pictures = (
        lora.with_suffix(kind + suffix) for kind in ("", ".preview") for suffix in _SIGNATURES
    )
    return next((path for path in pictures if path.is_file()), None)


def examples_beside(lora: Path) -> list[Path]:
    """The example pictures that lie beside a LoRA, in order: `<stem>.example-1.webp` and so on."""
    found = {path.stem: path for path in reversed(_examples(lora))}  # one for each number
    return [found[stem] for stem in sorted(found)]


def _examples(lora: Path) -> list[Path]:
    """Of every format."""
    numbers = range(1, EXAMPLES + 1)
    paths = (lora.with_suffix(f".example-{n}{suffix}") for n in numbers for suffix in _SIGNATURES)
    return [path for path in paths if path.is_file()]


def check_picture(path: Path) -> Path:
    """Returns the path of a picture that a page can show.

    Raises:
        BadFile: there is none, or it is of another format than its name says.
    """
    if not path.is_file():
        raise BadFile("there is no such picture", where=str(path), todo="give the path of one")
    signature = _SIGNATURES.get(path.suffix.lower())
    with path.open("rb") as file:
        start = file.read(12)
    if signature is None or not start.startswith(signature):
        raise BadFile(
            "is no picture of the format that it is named by", where=str(path), todo=_MAKE_ONE
        )
    if signature == b"RIFF" and start[8:] != b"WEBP":
        raise BadFile("is no WebP", where=str(path), todo=_MAKE_ONE)
    return path


def parse_templates(texts: Sequence[str]) -> list[dict[str, str]]:
    """`TITLE=PROMPT` of a command line, as a sidecar has it.

    Raises:
        BrushletError: there is no title or no prompt.
    """
    templates = []
    for text in texts:
        title, _, prompt = (part.strip() for part in text.partition("="))
        if not title or not prompt:
            todo = 'write for example "castle={trigger}, a castle, night"'
            raise BrushletError("a template has a title and a prompt", where=text, todo=todo)
        templates.append({"title": title, "prompt": prompt})
    return templates


def update_sidecar(
    lora: Path,
    changes: Mapping[str, object],
    picture: Path | None = None,
    examples: Sequence[Path] = (),
) -> Sidecar:
    """Creates or changes the sidecar of a LoRA, and puts pictures beside it.

    Args:
        lora: the file that the sidecar belongs to.
        changes: field of `Sidecar` -> value; the other fields stay, unknown ones too.
        picture: takes the place of a picture that is there.
        examples: take the place of all example pictures that are there.

    Raises:
        BadFile: there is no such LoRA, the sidecar that is there is damaged, or a picture is none.
        BrushletError: a value is not of its field's type, there are more than three examples, or
            the folder cannot be written.
    """
    if not lora.is_file():
        raise BadFile("there is no such LoRA", where=str(lora), todo="give the path of one")
    before = read_sidecar(lora)
    # By alias, or a field that is there would come twice.
    named = {Sidecar.model_fields[name].alias or name: value for name, value in changes.items()}
    after = _checked(before.fields | named, str(sidecar_path(lora)), "give another value")
    if len(examples) > EXAMPLES:
        todo = f"give at most {EXAMPLES}"
        raise BrushletError("these are too many examples", where=str(lora), todo=todo)
    data = check_picture(picture).read_bytes() if picture else None
    drawn = [(path.suffix.lower(), check_picture(path).read_bytes()) for path in examples]
    try:
        if picture and data is not None:
            beside = lora.with_suffix(picture.suffix.lower())
            write_whole(beside, data)
            for suffix in _SIGNATURES:  # one of another format might be shown instead
                other = lora.with_suffix(suffix)
                if other != beside and not (other.exists() and other.samefile(picture)):
                    other.unlink(missing_ok=True)
        written = []
        for number, (suffix, content) in enumerate(drawn, 1):
            written.append(lora.with_suffix(f".example-{number}{suffix}"))
            write_whole(written[-1], content)
        if written:  # the old ones go last: a full disk loses none
            for other in _examples(lora):
                if other not in written:
                    other.unlink()
        if changes:
            text = json.dumps(after.fields, indent=2, ensure_ascii=False) + "\n"
            write_whole(sidecar_path(lora), text.encode())
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        todo = "see to the permissions of its folder and to free space"
        raise BrushletError(what, where=str(sidecar_path(lora)), todo=todo) from error
    return after


def show_sidecar(lora: Path, sidecar: Sidecar, console: Console) -> None:
    """Prints a sidecar as a table."""
    table = Table(
        "", Column(plain(lora.name)), title=plain(sidecar_path(lora)), title_justify="left"
    )
    for field, value in sidecar.fields.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(plain(field), plain(text))
    table.add_row("preview", plain(picture_beside(lora) or "none"))
    if examples := examples_beside(lora):
        table.add_row("examples", plain(", ".join(path.name for path in examples)))
    console.print(table)


def _checked(fields: dict[str, object], where: str, todo: str) -> Sidecar:
    try:
        return Sidecar.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise BadFile(f"field `{field}`: {first['msg']}", where=where, todo=todo) from None
