"""One test per way in which a safetensors file can be wrong."""

import contextlib
import io
import json
import pickle
import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from runtime.errors import BadFile
from runtime.tensors import dump_tensors, parse_tensors

GOOD = {"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float16)}


def build(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header (JSON, or bytes as they are) before this body."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(shape: Any = (1,), dtype: Any = "F32", span: Any = (0, 4)) -> dict[str, Any]:
    """A header entry; the default is right for a body of four bytes."""
    return {"dtype": dtype, "shape": shape, "data_offsets": span}


def refusal(data: bytes) -> str:
    """The message that the file gets; one line, naming the file and what to do."""
    with pytest.raises(BadFile) as caught:
        parse_tensors(data, "evil.safetensors")
    message = str(caught.value)
    assert message.startswith("evil.safetensors: ")
    assert message.isprintable()
    assert caught.value.todo
    return message


def test_empty() -> None:
    assert "is empty" in refusal(b"")


def test_too_short_for_a_length() -> None:
    assert "cut short" in refusal(b"\x08\x00\x00")


def test_truncated_in_the_header() -> None:
    assert "cut short: the header" in refusal(dump_tensors(GOOD, {})[:50])


def test_truncated_in_the_tensors() -> None:
    assert "tensor 'b' ends 3 bytes past the end" in refusal(dump_tensors(GOOD, {})[:-3])


def test_header_longer_than_the_limit() -> None:
    assert "claims a header of" in refusal(build({"a": entry()}, length=2**63))


def test_bytes_behind_the_last_tensor() -> None:
    assert "5 bytes behind" in refusal(dump_tensors(GOOD, {}) + b"extra")


@pytest.mark.parametrize("header", [b"{nonsense}", b"{\xff}", b'{"a":' * 100_000])
def test_header_is_not_json(header: bytes) -> None:
    assert "not JSON" in refusal(build(header))


def test_header_is_not_an_object() -> None:
    assert "not a safetensors file" in refusal(build([1, 2, 3]))


def test_duplicate_names() -> None:
    one = json.dumps(entry()).encode()
    assert "'a' twice" in refusal(build(b'{"a":' + one + b',"a":' + one + b"}", bytes(4)))


def test_duplicate_fields_of_a_tensor() -> None:
    text = b'{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}'
    assert "'shape' twice" in refusal(build(text, bytes(4)))


def test_overlapping_tensors() -> None:
    header = {"a": entry(), "b": entry(span=(2, 6))}
    assert "'b' overlaps" in refusal(build(header, bytes(6)))


def test_gap_between_tensors() -> None:
    header = {"a": entry(), "b": entry(span=(8, 12))}
    assert "'b' leaves a gap" in refusal(build(header, bytes(12)))


def test_size_that_is_not_the_shapes() -> None:
    assert "needs 8 bytes, has 4" in refusal(build({"a": entry(shape=(2,))}, bytes(4)))


@pytest.mark.parametrize("shape", [(-1,), (1.0,), (True,), "1", None, (1,) * 9, ("1",)])
def test_shape_is_no_list_of_sizes(shape: Any) -> None:
    assert "not a list of sizes" in refusal(build({"a": entry(shape=shape)}, bytes(4)))


@pytest.mark.parametrize("span", [(0,), (0, 4, 8), (-4, 0), (0, 4.0), None, "04"])
def test_offsets_are_no_positions(span: Any) -> None:
    assert "not two positions" in refusal(build({"a": entry(span=span)}, bytes(4)))


def test_offsets_that_run_backwards() -> None:
    assert "needs 4 bytes, has -4" in refusal(build({"a": entry(span=(4, 0))}, bytes(4)))


def test_empty_tensor() -> None:
    header = {"a": entry(shape=(2**62, 0), span=(0, 0))}
    assert "is empty" in refusal(build(header))


@pytest.mark.parametrize("dtype", ["F8_E4M3", "object", None, 4, ["F32"]])
def test_unknown_dtype(dtype: Any) -> None:
    assert "has the dtype" in refusal(build({"a": entry(dtype=dtype)}, bytes(4)))


@pytest.mark.parametrize("description", [None, 1, "F32", [], {}, {**entry(), "more": 1}])
def test_tensor_without_a_description(description: Any) -> None:
    assert "is not described by" in refusal(build({"a": description}, bytes(4)))


NAMES = ["../../etc/passwd", "/root/x", "C:\\x", "a/b", ".hidden", "a\nb", "\x1b[31m", "", "\ud800"]
NAMES += ["a" * 513, "unet\u202egnp.exe"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_name_that_is_a_path_or_moves_the_cursor(name: str) -> None:
    assert "looks like a path" in refusal(build({name: entry()}, bytes(4)))


@pytest.mark.parametrize("metadata", [[], "x", {"a": 1}, {"a": None}, {"a": "\ud800"}])
def test_metadata_that_is_no_table_of_texts(metadata: Any) -> None:
    assert "table of texts" in refusal(build({"__metadata__": metadata}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("dtype", "kind"), [("F32", "<f4"), ("F16", "<f2"), ("F64", "<f8")])
def test_not_a_number(value: float, dtype: str, kind: str) -> None:
    body = np.array([1, value], kind).tobytes()
    message = refusal(build({"a": entry((2,), dtype, (0, len(body)))}, body))
    assert "'a' holds NaN or infinity" in message


def test_not_a_number_in_bfloat16() -> None:
    assert "holds NaN" in refusal(build({"a": entry((1,), "BF16", (0, 2))}, b"\xc0\x7f"))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickle_renamed(protocol: int) -> None:
    message = refusal(pickle.dumps({"a": [1.0] * 50}, protocol))
    assert "can run any code" in message
    assert "convert it to safetensors" in message


def test_torch_zip_renamed() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert "can run any code" in refusal(file.getvalue())


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"\n <html>", b'{"error":"not found"}'])
def test_web_page_saved_as_a_file(page: bytes) -> None:
    assert "saved as a file" in refusal(page)


def test_git_lfs_pointer() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
    assert "git lfs pull" in refusal(pointer)


def test_gguf() -> None:
    assert "GGUF" in refusal(b"GGUF\x03\x00\x00\x00" + bytes(40))


def test_random_bytes() -> None:
    data = np.random.default_rng(0).bytes(4096)
    assert "cut short" in refusal(data) or "not a safetensors" in refusal(data)


def test_length_that_looks_like_a_pickle_is_still_a_file() -> None:
    header = json.dumps({"a": entry()}).encode().ljust(0x0280)
    tensors, _ = parse_tensors(build(header, bytes(4)), "fine")
    assert list(tensors) == ["a"]


def test_every_truncation_and_every_flipped_bit_is_an_answer() -> None:
    """No damage ends in anything but a BadFile or a file that reads."""
    data = dump_tensors(GOOD, {"k": "v"})
    damaged = [data[:length] for length in range(len(data))]
    for position in range(len(data)):
        for bit in range(8):
            copy = bytearray(data)
            copy[position] ^= 1 << bit
            damaged.append(bytes(copy))
    for case in damaged:
        with contextlib.suppress(BadFile):
            parse_tensors(case, "damaged")
