from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from runtime.errors import BadFile
from runtime.tensors import dump_tensors, parse_tensors, read_tensors, write_tensors

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
DTYPES += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reads_what_the_library_writes(dtype: torch.dtype) -> None:
    tensor = (torch.randn(3, 5) * 100).to(dtype)
    data = safetensors.torch.save({"a.weight": tensor, "one": torch.tensor(2.5)}, {"k": "v"})
    tensors, metadata = parse_tensors(data, "file")
    expected = tensor.float().numpy() if dtype == torch.bfloat16 else tensor.numpy()
    assert tensors["a.weight"].dtype == expected.dtype
    assert (tensors["a.weight"] == expected).all()
    assert tensors["one"].shape == ()
    assert metadata == {"k": "v"}


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    tensors = {
        "half": np.arange(3, dtype=np.float16),
        "wide": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
        "ids": np.arange(4, dtype=np.int64),
    }
    write_tensors(tmp_path / "a.safetensors", tensors, {"title": "Grüße, 世界"})
    found = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in tensors.items()
    }
    again, metadata = read_tensors(tmp_path / "a.safetensors")
    assert list(map(str, again["wide"].shape)) == ["3", "2"]
    assert metadata == {"title": "Grüße, 世界"}


def test_the_same_tensors_give_the_same_bytes() -> None:
    a, b = np.ones(3, np.float32), np.zeros(2, np.float16)
    one = dump_tensors({"a": a, "b": b}, {"x": "1", "y": "2"})
    assert one == dump_tensors({"b": b, "a": a}, {"y": "2", "x": "1"})


def test_a_diverged_training_writes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    with pytest.raises(BadFile, match=r"'up' holds NaN.*learning rate"):
        write_tensors(path, {"up": np.array([1, np.nan], np.float32)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"no\.safetensors: cannot be read \(No such file"):
        read_tensors(tmp_path / "no.safetensors")
