"""The container: named tensors and one JSON description in a safetensors file, with checksums.

A safetensors file (https://huggingface.co/docs/safetensors) is eight bytes with the length of the header, the header
(JSON: dtype, shape and place of each tensor, and a ``__metadata__`` of strings), and the tensors, one after the other.
Ours has one entry of metadata, ``xpnet``, itself JSON::

    {"description": {...}, "format": 1, "sha256": {"data": "...", "description": "..."}, "writer": "0.1.0"}

``sha256.data`` is taken over the bytes of all tensors in the order of their names; ``sha256.description`` over the
rest: the description, the format, the writer, ``sha256.data`` and each tensor's name, dtype and shape. So a header can
be trusted before the tensors have been read, and a flipped bit is an error, not another model.

Files are written by the safetensors library and read here, since a file may come from anyone. Its size is held against
the header before anything is allocated, and every byte of it must be accounted for. The library's own reader accepts
names that come twice and fields that it does not know, and it maps the file into memory, where a file that another
process cuts short ends this one.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy

from xpnet.errors import InputError, ModelFileError
from xpnet.modelfile.disk import open_plain, write_whole
from xpnet.modelfile.values import canonical, from_json, parse

FORMAT = 1
HEADER_LIMIT = 16 * 2**20  # bytes; the tensors are not part of the header
DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U8": "u1", "U32": "<u4", "U64": "<u8"}


@dataclass(frozen=True)
class Tensor:
    """The entry of a tensor in a header: its dtype, its shape, and where its bytes begin and end in the data."""

    dtype: Literal["F32", "F64", "I64", "U8", "U32", "U64"]
    shape: tuple[int, ...]
    data_offsets: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """A file without its tensors, the checksum of its description verified.

    description : JSON values; tensors : by name; data_offset : where the tensors begin; size : of the file, in bytes
    format, writer : version of the format, and of xpnet, that the file was written with
    """

    description: dict[str, Any]
    tensors: dict[str, Tensor]
    data_sha256: str
    data_offset: int
    size: int
    format: int
    writer: str


def write(
    path: str | Path,
    description: dict[str, Any],
    tensors: dict[str, Any],
    check: Callable[[Header], object] | None = None,
) -> None:
    """Write a file; equal descriptions and tensors give equal bytes.

    tensors : NumPy arrays of the dtypes of ``DTYPES``, any strides
    check : called with the header as it will be read; a ValueError from it means that the file would not open

    Raises InputError for what a file cannot hold or would not give back, ModelFileError where it cannot be written.
    """
    try:
        from safetensors.numpy import save
    except ImportError:
        raise ModelFileError(
            "Model files are written by safetensors, which is not installed. pip install safetensors."
        ) from None
    try:
        content = _content(save, description, tensors)
        header = _header(BytesIO(content))
        if check is not None:
            check(header)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"A model file holds what it gives back the same; this one would not: {error}. Keep other data in a file "
            "of its own, or use skops.io.dump."
        ) from error
    write_whole(path, content)


def _content(save: Callable[..., bytes], description: dict[str, Any], tensors: dict[str, Any]) -> bytes:
    arrays = {name: numpy.asarray(array, order="C") for name, array in sorted(tensors.items())}
    shapes = {name: [_code(array.dtype), *array.shape] for name, array in arrays.items()}
    data = sha256()
    for array in arrays.values():
        data.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    envelope = {"description": description, "format": FORMAT, "writer": version("xpnet")}
    sums = {"data": data.hexdigest(), "description": _seal(envelope, data.hexdigest(), shapes)}
    return save(arrays, {"xpnet": canonical({**envelope, "sha256": sums})})


def read_header(path: str | Path) -> Header:
    """Return the header of a file; the tensors are left unread.

    Raises ModelFileError for a file that is not a whole and undamaged model file of this or an earlier format.
    """
    with open_plain(path) as file:
        return _named(path, _header, file)


def read(path: str | Path) -> tuple[Header, dict[str, numpy.ndarray]]:
    """Return the header and the tensors, by name, as NumPy arrays on the host.

    Raises ModelFileError for a file that is not a whole and undamaged model file of this or an earlier format.
    """
    with open_plain(path) as file:
        header = _named(path, _header, file)
        return header, _named(path, _tensors, file, header)


def _named(path: str | Path, read_part: Any, *args: Any) -> Any:
    """Call a reader; the error that it raises names the file."""
    try:
        return read_part(*args)
    except (ValueError, OSError, MemoryError, RecursionError) as error:
        raise ModelFileError(f"{path} is not a whole and undamaged model file: {error or 'too large'}.") from error


def _header(file: BinaryIO) -> Header:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    _require(size >= 8, "it has no header")
    _require(length <= size - 8, f"its header would be {length} bytes, past its end")
    _require(length <= HEADER_LIMIT, f"its header would be {length} bytes, at most {HEADER_LIMIT} are read")
    entries = parse(file.read(length))
    _require(isinstance(entries, dict), "its header is not a JSON object")
    metadata = entries.pop("__metadata__", None)
    ours = isinstance(metadata, dict) and set(metadata) == {"xpnet"} and isinstance(metadata["xpnet"], str)
    _require(ours, "it has no description by xpnet (other safetensors files hold no xpnet model)")
    tensors = {name: from_json(entry, Tensor) for name, entry in entries.items()}
    _check_places(tensors, size - 8 - length)
    return _unseal(metadata["xpnet"], tensors, 8 + length, size)


def _check_places(tensors: dict[str, Tensor], data_size: int) -> None:
    """Require that the tensors lie one behind the other, each as large as its shape says, and fill the data."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        counts = all(size >= 0 for size in tensor.shape) and len(tensor.shape) <= 3
        _require(counts, f"the shape of tensor {name!r} is not made of up to three counts")
        begin, end = end, end + prod(tensor.shape) * numpy.dtype(DTYPES[tensor.dtype]).itemsize
        _require(
            tensor.data_offsets == (begin, end),
            f"tensor {name!r} has another size than its shape, overlaps another or leaves a gap",
        )
    _require(end == data_size, f"its tensors take {end} bytes and it has {data_size}; it is cut short or has grown")


def _unseal(text: str, tensors: dict[str, Tensor], data_offset: int, size: int) -> Header:
    """Return the header from the text of its metadata, once format and checksum are verified."""
    envelope = parse(text)
    _require(isinstance(envelope, dict), "its description is not a JSON object")
    found = envelope.get("format")
    _require(type(found) is int and found >= 1, "it names no version of its format")
    _require(found <= FORMAT, f"it has format {found}, and this xpnet reads up to {FORMAT}; install a newer xpnet")
    sums = envelope.pop("sha256", None)
    whole = set(envelope) == {"description", "format", "writer"} and isinstance(envelope["description"], dict)
    summed = isinstance(sums, dict) and set(sums) == {"data", "description"} and isinstance(sums["data"], str)
    _require(whole and summed and isinstance(envelope["writer"], str), "its description lacks parts or has others")
    shapes = {name: [tensor.dtype, *tensor.shape] for name, tensor in tensors.items()}
    seal = _seal(envelope, sums["data"], shapes)
    # The same values in another text, such as 1E-5 for 1e-5, come from a flipped bit: xpnet writes one text only.
    untouched = seal == sums["description"] and text == canonical({**envelope, "sha256": sums})
    _require(untouched, "the checksum of its description does not hold; it is damaged")
    return Header(envelope["description"], tensors, sums["data"], data_offset, size, found, envelope["writer"])


def _seal(envelope: dict[str, Any], data_sha256: str, shapes: dict[str, list[Any]]) -> str:
    """Return the checksum of the description, the entries of the tensors, and the checksum of their bytes."""
    return sha256(canonical({**envelope, "data": data_sha256, "tensors": shapes}).encode()).hexdigest()


def _tensors(file: BinaryIO, header: Header) -> dict[str, numpy.ndarray]:
    data = numpy.empty(header.size - header.data_offset, dtype=numpy.uint8)
    file.seek(header.data_offset)
    _require(file.readinto(data) == data.size, "it was cut short while it was read")  # type: ignore[attr-defined]
    parts = {name: data[slice(*t.data_offsets)] for name, t in sorted(header.tensors.items())}
    found = sha256()
    for part in parts.values():
        found.update(part.data)
    _require(found.hexdigest() == header.data_sha256, "the checksum of its tensors does not hold; it is damaged")
    stored = {name: part.view(DTYPES[header.tensors[name].dtype]) for name, part in parts.items()}
    # Each in this machine's byte order, and as an array of its own.
    return {n: a.reshape(header.tensors[n].shape).astype(a.dtype.newbyteorder("=")) for n, a in stored.items()}


def _code(dtype: numpy.dtype) -> str:
    """Return ``F64`` for float64."""
    for code, name in DTYPES.items():
        if dtype.newbyteorder("<") == name:
            return code
    raise ValueError(f"a tensor has no dtype {dtype}")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
