import json
from pathlib import Path

import pytest

from runtime.errors import BadFile
from tests.trainer.conftest import MakeConfig, run
from trainer.sidecar import hand_written_notes

SHORT = {"steps": 1, "warmup_steps": 0}


def read(out: Path) -> dict[str, object]:
    fields: dict[str, object] = json.loads(out.with_suffix(".json").read_bytes())
    return fields


def write(out: Path, fields: object) -> None:
    out.with_suffix(".json").write_text(json.dumps(fields), encoding="utf-8")


def test_what_a_hand_wrote_stays_and_what_was_ours_follows_the_settings(
    config_with: MakeConfig,
) -> None:
    out = run(config_with(**SHORT, description="Green.", preferred_strength=0.5)).config.out
    ours = read(out)
    assert hand_written_notes(out) == []
    by_hand = {
        "notes": "Best at night.",
        "negative text": "blurry",
        "templates": [{"title": "城堡", "prompt": "{trigger}, a castle"}],
        "civitai id": 7,
    }
    write(out, ours | by_hand)
    (note,) = hand_written_notes(out)
    assert note.endswith("keeps what was written there by hand: negative text, notes")
    run(config_with(**SHORT, description="Greener.", preferred_strength=0.9))
    assert read(out) == {**ours, "description": "Greener.", "preferred weight": 0.9, **by_hand}
    run(config_with(**SHORT, description="Greenest."))  # and once more: still by hand
    assert read(out)["notes"] == "Best at night."
    assert read(out)["description"] == "Greenest."


def test_a_description_by_hand_wins_over_the_settings(config_with: MakeConfig) -> None:
    out = run(config_with(**SHORT, description="Green.")).config.out
    write(out, read(out) | {"description": "Mine.", "activation text": "ink"})
    run(config_with(**SHORT, description="Greener."))
    assert read(out)["description"] == "Mine."
    assert read(out)["activation text"] == "ink"


def test_empty_fields_are_filled(config_with: MakeConfig) -> None:
    """A1111 writes them so when nobody has filled in its form."""
    out = config_with().out
    out.parent.mkdir()
    form = {"description": "", "sd version": "", "activation text": "", "preferred weight": 0}
    write(out, {**form, "notes": "kept"})
    run(config_with(**SHORT))
    assert read(out) == {
        "description": "",
        "sd version": "SD1",
        "activation text": "my style",
        "preferred weight": 0.8,
        "negative text": "",
        "notes": "kept",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"notes": "a",}', "is not JSON"),
        ('{"notes": "城堡"}'.encode("gbk"), "is not JSON"),
        (b'{"notes": "\\ud800"}', "is not JSON"),
        (b"[]", "is not a JSON object"),
    ],
)
def test_one_that_cannot_be_read_stops_before_the_training(
    content: bytes, said: str, config_with: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.train.fill_cache", None)  # the first work there is
    sidecar = config_with().out.with_suffix(".json")
    sidecar.parent.mkdir()
    sidecar.write_bytes(content)
    with pytest.raises(BadFile, match=said) as caught:
        run(config_with(**SHORT))
    assert caught.value.where == str(sidecar)
    assert "correct it" in caught.value.todo
    assert [path.name for path in sidecar.parent.iterdir()] == ["mine.json"]
    assert sidecar.read_bytes() == content


def test_one_that_is_broken_meanwhile_costs_nothing(
    config_with: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_with(**SHORT)
    sidecar = config.out.with_suffix(".json")

    def broken(*_: object) -> bytes:
        sidecar.write_text("{")
        return b""

    with monkeypatch.context() as patch:
        patch.setattr("trainer.train.draw_thumbnail", broken)
        with pytest.raises(BadFile, match="is not JSON"):
            run(config)
    assert sidecar.read_text() == "{"
    sidecar.unlink()
    run(config)
    assert config.out.is_file()
