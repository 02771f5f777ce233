import shutil
from pathlib import Path

import numpy as np
import pytest

from exporter.blend import Mixture, read_mixture
from exporter.fitting import check_fit, lora_notes
from runtime.errors import UnmatchedKeys, WrongBase
from runtime.lora import BASE_HASH_KEY
from runtime.tensors import read_tensors, write_tensors

DIGEST = "a" * 64


def mixture(path: Path) -> Mixture:
    return read_mixture(path)


def test_what_fits_says_nothing(tiny_base: Path, tiny_loras: dict[str, Path]) -> None:
    for name, slot_set in (("wobble", "attn"), ("wiggle", "transformer"), ("wiggle", "full")):
        check_fit(mixture(tiny_loras[name]), tiny_base, "tiny", DIGEST, "external", slot_set)  # type: ignore[arg-type]


def test_only_external_ones_need_slots(tiny_base: Path, tiny_loras: dict[str, Path]) -> None:
    wiggle = mixture(tiny_loras["wiggle"])
    check_fit(wiggle, tiny_base, "tiny", DIGEST, "merged", "attn")
    with pytest.raises(UnmatchedKeys, match=r"SLOTS=attn.*SLOTS=transformer.*MODE=merged"):
        check_fit(wiggle, tiny_base, "tiny", DIGEST, "external", "attn")


@pytest.mark.parametrize("mode", ["external", "merged"])
def test_another_base_is_named_with_the_one_here(
    mode: str, tiny_base: Path, tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    tensors, _ = read_tensors(tiny_loras["wobble"])
    wide = {
        key: np.concatenate([array, array], axis=1) if key.endswith("down.weight") else array
        for key, array in tensors.items()
    }
    path = tmp_path / "wide.safetensors"
    write_tensors(path, wide, {BASE_HASH_KEY: "b" * 64})
    with pytest.raises(WrongBase) as told:
        check_fit(mixture(path), tiny_base, "tiny", DIGEST, mode, "full")  # type: ignore[arg-type]
    assert f"the base here is tiny ({DIGEST[:12]})" in str(told.value)
    assert f"names the base {'b' * 12}" in str(told.value)


def test_a_note_is_for_files_that_name_another_base(
    tiny_loras: dict[str, Path], tmp_path: Path
) -> None:
    tensors, metadata = read_tensors(tiny_loras["wobble"])
    for name, digest in (("same", DIGEST), ("other", "b" * 64)):
        write_tensors(
            tmp_path / f"{name}.safetensors", tensors, {**metadata, BASE_HASH_KEY: digest}
        )
    shutil.copy(tiny_loras["wobble"], tmp_path / "silent.safetensors")
    assert list(lora_notes(None, "tiny", DIGEST)) == []
    for name in ("same", "silent"):
        assert not list(lora_notes(mixture(tmp_path / f"{name}.safetensors"), "tiny", DIGEST))
    [note] = lora_notes(mixture(tmp_path / "other.safetensors"), "tiny", DIGEST)
    assert note.startswith("other.safetensors was trained on another base (bbbbbbbbbbbb; this one")
