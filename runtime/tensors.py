"""Reads and writes safetensors, believing nothing a file says about itself.

Format: https://github.com/huggingface/safetensors#format - eight bytes with the header's length
(little endian), a JSON header, then the tensors' bytes without gaps. The `safetensors` library
accepts duplicate names, path-like names, NaN and infinities; this reader does not.
"""

import json
import math
import mmap
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from runtime.errors import BadFile
from runtime.files import write_whole

Array = np.ndarray[Any, np.dtype[Any]]
Float32 = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Tensors = dict[str, Array]
Metadata = dict[str, str]
_Part = tuple[str, tuple[int, ...], int, int]  # a tensor's dtype, shape, first and last byte

MAX_HEADER = 100_000_000  # bytes; the safetensors library's own limit
_MAX_DIMS = 8
_NAME = re.compile(r"(?!\.)(?!.*\.\.)[ -.0-\[\]-~]{1,512}")  # printable ASCII, no / \ or ..
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # numpy has no bfloat16: its bits are a float32's upper half
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}

_AGAIN = "download or save the file again"
_PICKLE = (
    "is a Python pickle, and opening a pickle can run any code its author put in",
    "convert it to safetensors on a machine you can throw away, or get the .safetensors version",
)
_WEB_PAGE = (
    "is a web page or an error message that was saved as a file",
    "the download failed or needs a login; download it again and look at its size",
)
_MAGIC = (
    (b"PK\x03\x04", *_PICKLE),  # torch.save: a zip with a pickle in it
    (b"\x80", *_PICKLE),
    (b"version https://git-lfs", "is a git-lfs pointer, not the file itself", "run `git lfs pull`"),
    (b"<", *_WEB_PAGE),
    (b"{", *_WEB_PAGE),
    (b"GGUF", "is a GGUF file, not safetensors", "get the .safetensors version"),
)


def parse_tensors(data: bytes | memoryview, where: str) -> tuple[Tensors, Metadata]:
    """The tensors and the metadata of a safetensors file held in memory.

    Args:
        data: the whole file.
        where: what to call it in errors, for example its path.

    Returns:
        name -> array (bfloat16 widened to float32, all else as stored; copies of `data`), and the
        header's `__metadata__`.

    Raises:
        BadFile: anything that the format does not allow, and NaN, infinities, empty tensors,
            duplicate or path-like names, which it does.
    """
    data = memoryview(data)
    parts, metadata = _parts(data, where)
    tensors: Tensors = {}
    for name, (dtype, shape, begin, end) in parts.items():
        tensors[name] = _array(data[begin:end], dtype, shape)
        _refuse_non_finite(name, tensors[name], where)
    return tensors, metadata


def read_tensors(path: Path) -> tuple[Tensors, Metadata]:
    """`parse_tensors` of a file; BadFile also when it cannot be read."""
    return parse_tensors(read_bytes(path), str(path))


class TensorFile:
    """A safetensors file too large to be held in memory; its tensors are read one by one.

    Raises:
        BadFile: as `parse_tensors`, but for values, and when it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if path.stat().st_size == 0:
                raise BadFile("is empty", where=str(path), todo=_AGAIN)
            with (
                path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
                memoryview(mapped) as data,
            ):
                self._parts, _ = _parts(data, str(path))
        except OSError as error:
            raise _unreadable(path, error) from None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape, by its name."""
        return {name: shape for name, (_, shape, _, _) in self._parts.items()}

    def is_half(self, name: str) -> bool:
        """Whether a tensor is there, as float16."""
        return name in self._parts and self._parts[name][0] == "F16"

    def read(self, name: str) -> Array:
        """A tensor, bfloat16 widened to float32; BadFile when there is none."""
        if name not in self._parts:
            what = f"has no tensor {_quote(name)}"
            todo = "use a Stable Diffusion 1.x or 2.x model as safetensors"
            raise BadFile(what, where=str(self._path), todo=todo)
        dtype, shape, begin, end = self._parts[name]
        with self._path.open("rb") as file:  # not mapped: its pages would count as ours
            file.seek(begin)
            return _array(memoryview(file.read(end - begin)), dtype, shape)


def read_bytes(path: Path) -> bytes:
    """A file's bytes; BadFile when it is missing, a folder, or not readable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def dump_tensors(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file as bytes; the same input always gives the same bytes.

    Raises:
        BadFile: a tensor is empty or holds NaN or an infinity, or its name would be refused.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    # Widest first, so that every tensor is aligned to its own element size.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    parts: list[bytes] = []
    position = 0
    for name in order:
        array = tensors[name]
        dtype = _NAMES[array.dtype.newbyteorder("<")]
        part = array.astype(array.dtype.newbyteorder("<"), order="C").tobytes()
        span = [position, position + len(part)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": span}
        _checked_entry(name, header[name], "new file")
        _refuse_non_finite(name, array, "new file")
        parts.append(part)
        position += len(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def write_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Writes `dump_tensors(...)` to `path`, whole or not at all."""
    write_whole(path, dump_tensors(tensors, metadata))


def _refuse_other_formats(data: memoryview, where: str) -> None:
    if not data:
        raise BadFile("is empty", where=where, todo=_AGAIN)
    if bytes(data[8:9]) == b"{":  # a header's first byte; a length may look like any magic number
        return
    start = bytes(data[:32]).lstrip()
    for magic, what, todo in _MAGIC:
        if start.startswith(magic):
            raise BadFile(what, where=where, todo=todo)
    if len(data) < 10:
        raise BadFile(f"is cut short: it has {len(data)} bytes", where=where, todo=_AGAIN)
    raise BadFile("is not a safetensors file", where=where, todo=_AGAIN)


def _unreadable(path: Path, error: OSError) -> BadFile:
    what = f"cannot be read ({error.strerror})"
    return BadFile(what, where=str(path), todo="check the path and its permissions")


def _parts(data: memoryview, where: str) -> tuple[dict[str, _Part], Metadata]:
    """Name -> where its bytes lie, in the order of the file; and the metadata."""
    _refuse_other_formats(data, where)
    size = int.from_bytes(data[:8], "little")
    if size > MAX_HEADER:
        raise BadFile(
            f"claims a header of {size} bytes, over {MAX_HEADER}", where=where, todo=_AGAIN
        )
    if 8 + size > len(data):
        what = f"is cut short: the header has {size} bytes, the whole file {len(data)}"
        raise BadFile(what, where=where, todo=_AGAIN)
    header = _parse_header(bytes(data[8 : 8 + size]), where)
    metadata = _checked_metadata(header.pop("__metadata__", {}), where)

    first, length = 8 + size, len(data) - 8 - size
    parts: dict[str, _Part] = {}
    position = 0
    for name, dtype, shape, begin, end in sorted(
        (_checked_entry(name, entry, where) for name, entry in header.items()),
        key=lambda entry: entry[3:],
    ):
        if begin != position:
            fault = (
                "overlaps the tensor before it" if begin < position else "leaves a gap before it"
            )
            raise BadFile(f"tensor {_quote(name)} {fault}", where=where, todo=_AGAIN)
        if end > length:
            what = f"is cut short: tensor {_quote(name)} ends {end - length} bytes past the end"
            raise BadFile(what, where=where, todo=_AGAIN)
        parts[name] = dtype, shape, first + begin, first + end
        position = end
    if position != length:
        what = f"has {length - position} bytes behind the last tensor"
        raise BadFile(what, where=where, todo=_AGAIN)
    return parts, metadata


def _parse_header(text: bytes, where: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise BadFile(f"has {_quote(twice)} twice in its header", where=where, todo=_AGAIN)
        return table

    try:
        header = json.loads(text.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise BadFile("has a header that is not JSON", where=where, todo=_AGAIN) from None
    if not isinstance(header, dict):
        raise BadFile("has a header that is not a JSON object", where=where, todo=_AGAIN)
    return header


def _checked_metadata(metadata: Any, where: str) -> Metadata:
    texts = [*metadata, *metadata.values()] if isinstance(metadata, dict) else [None]
    if not all(isinstance(text, str) and _encodable(text) for text in texts):
        raise BadFile("has metadata that is not a table of texts", where=where, todo=_AGAIN)
    return metadata  # type: ignore[no-any-return]


def _encodable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)  # lone surrogates


def _checked_entry(name: str, entry: Any, where: str) -> tuple[str, str, tuple[int, ...], int, int]:
    """(name, dtype, shape, begin, end) of a header entry that agrees with itself."""

    def refuse(what: str) -> NoReturn:
        raise BadFile(f"tensor {_quote(name)} {what}", where=where, todo=_AGAIN)

    if not _NAME.fullmatch(name):
        refuse("has a name that looks like a path or holds control characters")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        refuse("is not described by dtype, shape and data_offsets")
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        refuse(f"has the dtype {_quote(dtype)}; save it as F16, BF16 or F32")
    if not _is_sizes(shape) or len(shape) > _MAX_DIMS:
        refuse("has a shape that is not a list of sizes")
    if not _is_sizes(span) or len(span) != 2:
        refuse("has data_offsets that are not two positions")
    size = math.prod(shape) * _DTYPES[dtype].itemsize
    if size == 0:
        refuse(f"of shape {shape} is empty")
    if span[1] - span[0] != size:
        refuse(f"of shape {shape} and dtype {dtype} needs {size} bytes, has {span[1] - span[0]}")
    return name, dtype, tuple(shape), span[0], span[1]


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _array(part: memoryview, dtype: str, shape: tuple[int, ...]) -> Array:
    array: Array = np.frombuffer(part, _DTYPES[dtype]).reshape(shape)
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.copy()  # aligned and writable, whatever the file's bytes are


def _refuse_non_finite(name: str, array: Array, where: str) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        what = f"tensor {_quote(name)} holds NaN or infinity"
        todo = "the training that made it diverged; use an earlier epoch or a lower learning rate"
        raise BadFile(what, where=where, todo=todo)


def _quote(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
