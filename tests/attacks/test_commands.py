"""Bad files through the command that a person types: one line, an exit code, nothing changed."""

import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import BadFile
from runtime.tensors import read_tensors, write_tensors
from tests.exporter.test_staging import listing

Damage = Callable[[Path], None]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def header_that_lies(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**40) + path.read_bytes()[8:])


def duplicate_names(path: Path) -> None:
    one = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    header = b'{"a":' + one + b',"a":' + one + b"}"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def pickle_renamed(path: Path) -> None:
    path.write_bytes(pickle.dumps({"lora_unet_x.lora_up.weight": [1.0]}))


def not_a_number(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2] + np.float16(np.nan).tobytes())


def wrong_shapes(path: Path) -> None:
    tensors, metadata = read_tensors(path)
    key = next(key for key in tensors if key.endswith("lora_up.weight"))
    write_tensors(path, tensors | {key: tensors[key][:, :1]}, metadata)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (empty, "is empty"),
        (truncated, "past the end"),
        (header_that_lies, "claims a header of"),
        (duplicate_names, "'a' twice"),
        (pickle_renamed, "pickle"),
        (not_a_number, "NaN"),
        (wrong_shapes, "up [out, rank]"),
    ],
)
def test_a_bad_lora_ends_in_one_line(
    damage: Damage,
    said: str,
    tiny_base: Path,
    tiny_bundle: Path,
    tiny_loras: dict[str, Path],
    tmp_path: Path,
) -> None:
    path = Path(shutil.copy(tiny_loras["wobble"], tmp_path / "evil.safetensors"))
    damage(path)
    before = listing(tiny_bundle)
    command = [sys.executable, "-m", "exporter", "export", "--lora", str(path)]
    command += ["--base", str(tiny_base), "--out", str(tiny_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == BadFile.exit_code
    (line,) = done.stderr.strip().splitlines()
    assert str(path) in line
    assert said in line
    assert listing(tiny_bundle) == before
