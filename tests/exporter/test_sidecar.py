import json
import subprocess
import sys
from pathlib import Path

import pytest

from exporter import sidecar
from exporter.sidecar import Sidecar, picture_beside, read_sidecar, update_sidecar
from runtime.errors import BadFile

FIELDS = {
    "description": "green",
    "sd version": "SD1",
    "activation text": "miyazaki style",
    "preferred weight": 0.8,
    "negative text": "grey",
    "notes": "Not for wood.",
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    path = tmp_path / "Ghibli Style_v2.safetensors"
    path.touch()
    return path


def written(lora: Path) -> dict[str, object]:
    return json.loads(lora.with_suffix(".json").read_text())


def test_every_field_is_read(lora: Path) -> None:
    assert read_sidecar(lora) == Sidecar()
    lora.with_suffix(".json").write_text(json.dumps(FIELDS | {"tool": {"version": 2}}))
    found = read_sidecar(lora)
    assert found.fields == FIELDS | {"tool": {"version": 2}}
    assert (found.sd_version, found.negative_text, found.notes) == ("SD1", "grey", "Not for wood.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"preferred weight": "much"}', "field `preferred weight`"),
        ('{"preferred weight": NaN}', "field `preferred weight`"),
        ('{"activation text": ["a"]}', "field `activation text`"),
    ],
)
def test_a_broken_sidecar_is_named(text: str, said: str, lora: Path) -> None:
    lora.with_suffix(".json").write_text(text)
    with pytest.raises(BadFile, match=said) as caught:
        read_sidecar(lora)
    assert caught.value.where == str(lora.with_suffix(".json"))


def test_an_update_keeps_what_it_does_not_know(lora: Path) -> None:
    lora.with_suffix(".json").write_text(json.dumps(FIELDS | {"tool": {"version": 2}}))
    update_sidecar(lora, {"activation_text": "水彩", "preferred_weight": 1})
    changed = {"activation text": "水彩", "preferred weight": 1}
    assert written(lora) == FIELDS | changed | {"tool": {"version": 2}}


@pytest.mark.parametrize("changes", [{"preferred_weight": float("nan")}, {"notes": 3}])
def test_a_bad_value_changes_nothing(changes: dict[str, object], lora: Path) -> None:
    update_sidecar(lora, {"notes": "kept"})
    with pytest.raises(BadFile, match="field `"):
        update_sidecar(lora, changes)
    assert written(lora) == {"notes": "kept"}


def test_an_interrupt_leaves_the_old_sidecar(lora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update_sidecar(lora, {"notes": "kept"})

    def interrupted(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        update_sidecar(lora, {"notes": "lost"})
    monkeypatch.undo()
    assert written(lora) == {"notes": "kept"}
    assert {path.name for path in lora.parent.iterdir()} == {lora.name, "Ghibli Style_v2.json"}


def test_a_preview_takes_the_place_of_the_old_one(lora: Path, tmp_path: Path) -> None:
    lora.with_suffix(".jpg").write_bytes(b"\xff\xd8\xff")
    picture = tmp_path / "castle.PNG"
    picture.write_bytes(PNG)
    update_sidecar(lora, {}, picture)
    assert picture_beside(lora) == lora.with_suffix(".png")
    assert lora.with_suffix(".png").read_bytes() == PNG
    assert not lora.with_suffix(".jpg").exists()
    update_sidecar(lora, {}, lora.with_suffix(".png"))  # itself: nothing is lost
    assert lora.with_suffix(".png").read_bytes() == PNG


def test_the_preview_of_other_tools_is_found(lora: Path) -> None:
    assert picture_beside(lora) is None
    lora.with_suffix(".preview.png").touch()
    assert picture_beside(lora) == lora.with_suffix(".preview.png")
    lora.with_suffix(".webp").touch()
    assert picture_beside(lora) == lora.with_suffix(".webp")


@pytest.mark.parametrize("name", ["castle.gif", "castle.webp", "none.png"])
def test_what_is_no_picture_is_refused(name: str, lora: Path, tmp_path: Path) -> None:
    if not name.startswith("none"):
        (tmp_path / name).write_bytes(b"RIFF\0\0\0\0WAVE")
    with pytest.raises(BadFile, match=name):
        update_sidecar(lora, {"notes": "lost"}, tmp_path / name)
    assert read_sidecar(lora) == Sidecar()


def test_the_command_writes_and_shows_every_field(lora: Path, tmp_path: Path) -> None:
    picture = tmp_path / "castle.png"
    picture.write_bytes(PNG)
    options = {
        "--activation-text": "miyazaki style",
        "--preferred-weight": "0.8",
        "--negative-text": "grey",
        "--notes": "Not for [wood].",
        "--description": "green",
        "--sd-version": "SD1",
        "--template": "castle={trigger}, a castle",
        "--preview": str(picture),
    }
    arguments = [text for option in options.items() for text in option]
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "sidecar", str(lora), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    template = {"title": "castle", "prompt": "{trigger}, a castle"}
    assert written(lora) == FIELDS | {"notes": "Not for [wood].", "templates": [template]}
    assert picture_beside(lora) == lora.with_suffix(".png")
    assert "Not for [wood]." in done.stdout
    named = {name.removeprefix("--").replace("-", "_") for name in options} - {"preview"}
    assert set(sidecar.Sidecar.model_fields) - {"templates"} == named - {"template"}


def test_a_lora_that_is_not_there_gets_no_sidecar(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such LoRA"):
        update_sidecar(tmp_path / "none.safetensors", {"notes": "x"})
    assert not list(tmp_path.iterdir())
