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
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy

from xpnet.backend import NetworkSpec
from xpnet.errors import InputError, ModelFileError
from xpnet.modelfile.disk import open_plain, write_whole
from xpnet.modelfile.values import TENSORS, canonical, parse, typed
from xpnet.models.inputs import check_spec

FORMAT = 1
HEADER_LIMIT = 16 * 2**20  # bytes; the tensors are not part of the header
DTYPES = {code: numpy.dtype(name).newbyteorder("<") for name, code in TENSORS.items()}


@dataclass(frozen=True)
class Tensor:
    """The entry of a tensor in a header: its dtype, its shape, and where its bytes begin and end in the data."""

    dtype: Literal["F32", "F64", "I64", "U8", "U32", "U64"]
    shape: tuple[int, ...]
    data_offsets: tuple[int, ...]


@dataclass(frozen=True)
class Description:
    """The description of a file of any kind.

    kind : name of the class; network : the network whose parameters it holds
    settings : further values that its kind needs; extra : the values that the user added
    format, writer : version of the format, and of xpnet, that the file was written with
    """

    kind: str
    network: NetworkSpec
    settings: dict[str, Any]
    extra: dict[str, Any]
    format: int = FORMAT
    writer: str = field(default_factory=lambda: version("xpnet"))

    def __post_init__(self) -> None:
        """Raise ValueError unless the spec describes a network."""
        spec, hidden = self.network, len(self.network.widths) - 2
        named = not spec.names or (
            spec.members == 1 and len(spec.names) == len(set(spec.names)) == 2 * spec.layers
        )
        layers = (
            hidden >= 0 and len(spec.activations) == hidden and len(spec.dropout) in (0, hidden)
        )
        if not (named and layers and 0 <= spec.seed < 2**63):
            raise ValueError(
                "the widths, activations, rates, names and seed of its network do not belong together"
            )
        check_spec(spec)


def write(
    path: str | Path,
    description: Description,
    tensors: dict[str, Any],
    check: Callable[[Description], object] = lambda _: None,
) -> None:
    """Write a file; equal descriptions and tensors give equal bytes.

    tensors : NumPy arrays of the dtypes of ``TENSORS``, any strides
    check : called with the description as it will be read; a ValueError from it means that the file would not open

    Raises InputError for what a file cannot hold or would not give back, ModelFileError where it cannot be written.
    """
    try:
        from safetensors.numpy import save
    except ImportError:
        raise ModelFileError(
            "Model files are written by the package safetensors: pip install safetensors."
        ) from None
    try:
        content = _content(save, description, tensors)
        check(_header(BytesIO(content))[0])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"A model file holds what it gives back the same; this one would not: {error}. Use skops.io.dump."
        ) from error
    write_whole(path, content)


def _content(
    save: Callable[..., bytes], description: Description, tensors: dict[str, Any]
) -> bytes:
    envelope: dict[str, Any] = {
        "description": {**vars(description), "network": asdict(description.network)}
    }
    envelope |= {name: envelope["description"].pop(name) for name in ("format", "writer")}
    arrays = {name: numpy.asarray(array, order="C") for name, array in sorted(tensors.items())}
    shapes = {name: [TENSORS[array.dtype.name], *array.shape] for name, array in arrays.items()}
    data = sha256()
    for array in arrays.values():
        data.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    sums = {"data": data.hexdigest(), "description": _seal(envelope, data.hexdigest(), shapes)}
    return save(arrays, {"xpnet": canonical({**envelope, "sha256": sums})})


def read(path: str | Path, *, whole: bool = True) -> tuple[Description, dict[str, Any]]:
    """Return the description and, by name, the tensors as NumPy arrays on the host.

    whole : False leaves the tensors unread and returns their entries

    Raises ModelFileError for a file that is not a whole and undamaged model file of this or an earlier format.
    """
    with open_plain(path) as file:
        try:
            description, entries, checksum = _header(file)
            return description, _tensors(file, entries, checksum) if whole else entries
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            OSError,
            MemoryError,
            RecursionError,
        ) as error:
            raise ModelFileError(
                f"{path} is not a whole and undamaged model file: {error}."
            ) from error


def _header(file: BinaryIO) -> tuple[Description, dict[str, Tensor], str]:
    """Return description, entries and checksum of the tensors, up to which the file is then read."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    _require(size >= 8, "it has no header")
    _require(length <= size - 8, f"its header would be {length} bytes, past its end")
    _require(
        length <= HEADER_LIMIT,
        f"its header would be {length} bytes, at most {HEADER_LIMIT} are read",
    )
    entries = parse(file.read(length))
    _require(isinstance(entries, dict), "its header is not a JSON object")
    metadata = entries.pop("__metadata__", None)
    ours = (
        isinstance(metadata, dict)
        and set(metadata) == {"xpnet"}
        and isinstance(metadata["xpnet"], str)
    )
    _require(ours, "it has no description by xpnet (other safetensors files hold no xpnet model)")
    tensors = {name: typed(entry, Tensor) for name, entry in entries.items()}
    _check_places(tensors, size - 8 - length)
    description, checksum = _unseal(metadata["xpnet"], tensors)
    return description, tensors, checksum


def _check_places(tensors: dict[str, Tensor], data_size: int) -> None:
    """Require that the tensors lie one behind the other, each as large as its shape says, and fill the data."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        counts = all(size >= 0 for size in tensor.shape) and len(tensor.shape) <= 3
        _require(counts, f"the shape of tensor {name!r} is not made of up to three counts")
        begin, end = end, end + prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
        fits = tensor.data_offsets == (begin, end)
        _require(
            fits,
            f"tensor {name!r} has another size than its shape, overlaps another or leaves a gap",
        )
    _require(
        end == data_size,
        f"its tensors take {end} bytes and it has {data_size}; it is cut short or has grown",
    )


def _unseal(text: str, tensors: dict[str, Tensor]) -> tuple[Description, str]:
    """Return description and checksum of the tensors from a text, once its format and its own checksum are verified."""
    envelope = parse(text)
    found, sums = envelope["format"], envelope.pop("sha256")
    newer = f"it has format {found}, and this xpnet reads up to {FORMAT}; install a newer xpnet"
    _require(found in range(1, FORMAT + 1), newer)
    shapes = {name: [tensor.dtype, *tensor.shape] for name, tensor in tensors.items()}
    seal = _seal(envelope, sums["data"], shapes)
    # The same values in another text, such as 1E-5 for 1e-5, come from a flipped bit: xpnet writes one text only.
    untouched = seal == sums["description"] and text == canonical({**envelope, "sha256": sums})
    _require(untouched, "the checksum of its description does not hold; it is damaged")
    return typed({**envelope.pop("description"), **envelope}, Description), sums["data"]


def _seal(envelope: dict[str, Any], data_sha256: Any, shapes: dict[str, list[Any]]) -> str:
    """Return the checksum of the description, the entries of the tensors, and the checksum of their bytes."""
    return sha256(
        canonical({**envelope, "data": data_sha256, "tensors": shapes}).encode()
    ).hexdigest()


def _tensors(file: BinaryIO, entries: dict[str, Tensor], checksum: Any) -> dict[str, numpy.ndarray]:
    data = numpy.empty(
        max((entry.data_offsets[1] for entry in entries.values()), default=0), dtype=numpy.uint8
    )
    _require(file.readinto(data) == data.size, "it was cut short while it was read")  # type: ignore[attr-defined]
    found, tensors = sha256(), {}
    for name, entry in sorted(entries.items()):
        part = data[slice(*entry.data_offsets)]
        found.update(part.data)
        stored = part.view(DTYPES[entry.dtype]).reshape(entry.shape)
        tensors[name] = stored.astype(
            stored.dtype.newbyteorder("=")
        )  # an array of its own, in this machine's order
    _require(
        found.hexdigest() == checksum, "the checksum of its tensors does not hold; it is damaged"
    )
    return tensors


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
