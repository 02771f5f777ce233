"""One test per way in which a bundle can be wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle import Bundle
from runtime.errors import BadFile, WrongBase
from runtime.manifest import FileRef
from runtime.pipeline import Pipeline


@pytest.fixture
def broken(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle to break."""
    return shutil.copytree(tiny_bundle, tmp_path / "dist")


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edits the manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def weights(folder: Path) -> FileRef:
    """The largest shard of the UNet."""
    manifest = Bundle.open(folder).manifest
    shards = manifest.unet[0].graphs[0].shards
    return max((manifest.shards[shard] for shard in shards), key=lambda ref: ref.bytes)


def refusal(action: Callable[[], object], kind: type[BadFile | WrongBase] = BadFile) -> str:
    with pytest.raises(kind) as caught:
        action()
    assert caught.value.todo
    return str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    assert "is no folder" in refusal(lambda: Bundle.open(tmp_path / "nowhere"))


def test_no_manifest(tmp_path: Path) -> None:
    assert "has no manifest.json" in refusal(lambda: Bundle.open(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000])
def test_manifest_is_no_json_object(text: str, broken: Path) -> None:
    (broken / "manifest.json").write_text(text)
    assert "is not a JSON object" in refusal(lambda: Bundle.open(broken))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version(version: object, broken: Path) -> None:
    change(broken, lambda manifest: manifest.update(schema_version=version))
    message = refusal(lambda: Bundle.open(broken))
    assert f"has schema version {version!r}, this program reads 1" in message


def test_a_missing_field_is_named(broken: Path) -> None:
    change(broken, lambda manifest: manifest["model"].pop("vae_scale"))
    assert "field model.vae_scale: Field required" in refusal(lambda: Bundle.open(broken))


def test_an_unknown_field_is_named(broken: Path) -> None:
    change(broken, lambda manifest: manifest.update(surprise=1))
    assert "field surprise" in refusal(lambda: Bundle.open(broken))


@pytest.mark.parametrize("url", ["../secret", "/etc/passwd", "https://example.org/x"])
def test_a_file_outside_the_bundle(url: str, broken: Path) -> None:
    change(broken, lambda manifest: manifest["slots"].update(url=url))
    assert "field slots.url" in refusal(lambda: Bundle.open(broken))


def test_a_missing_file(broken: Path) -> None:
    ref = weights(broken)
    (broken / ref.url).unlink()
    for action in (Bundle.open(broken).verify, lambda: Pipeline(Bundle.open(broken)).unet("base")):
        message = refusal(action)
        assert ref.url in message
        assert "is missing" in message


def test_a_truncated_shard(broken: Path) -> None:
    ref = weights(broken)
    path = broken / ref.url
    path.write_bytes(path.read_bytes()[:-1])
    for action in (Bundle.open(broken).verify, lambda: Pipeline(Bundle.open(broken)).unet("base")):
        message = refusal(action)
        assert f"has {ref.bytes - 1} bytes where the manifest says {ref.bytes}" in message


def test_an_altered_shard(broken: Path) -> None:
    path = broken / weights(broken).url
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    message = refusal(Bundle.open(broken).verify)
    assert f"{path}: has been altered" in message


def test_a_graph_that_is_no_graph(broken: Path) -> None:
    bundle = Bundle.open(broken)
    ref = bundle.manifest.vae_decoder.graph.file
    (broken / ref.url).write_bytes(b"\xff" * ref.bytes)
    message = refusal(lambda: Pipeline(Bundle.open(broken)).vae_decoder)
    assert "onnxruntime cannot open it" in message


def test_a_tokenizer_that_is_none(broken: Path) -> None:
    ref = Bundle.open(broken).manifest.tokenizer.tokenizer_json
    (broken / ref.url).write_bytes(b" " * ref.bytes)
    message = refusal(lambda: Pipeline(Bundle.open(broken)).text_encoder)
    assert "is no tokenizer" in message


def test_a_slot_table_that_is_none(broken: Path) -> None:
    ref = Bundle.open(broken).manifest.slots
    (broken / ref.url).write_bytes(b'{"slot_set":"attn"'.ljust(ref.bytes - 1) + b"}")
    assert "field slots: Field required" in refusal(Bundle.open(broken).slot_table)


def test_a_style_of_another_base(broken: Path) -> None:
    change(broken, lambda manifest: manifest.update(base_hash="ab" * 32, name="big"))
    message = refusal(lambda: Bundle.open(broken).style_pack("wiggle"), WrongBase)
    assert "made for the base tiny" in message
    assert "base is big (abababababababab)" in message
