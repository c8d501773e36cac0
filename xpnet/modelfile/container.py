"""The container: named tensors and one JSON description in a safetensors file, with checksums.

A safetensors file (https://huggingface.co/docs/safetensors) holds eight bytes with the length of
the header, the header (JSON: dtype, shape and offsets of each tensor, and a ``__metadata__`` of
strings), and the tensors, one after the other. The files of xpnet have one entry of metadata,
``xpnet``, which is JSON, too::

    {"description": {...}, "format": 1, "sha256": {"data": "...", "description": "..."},
     "writer": "0.1.0"}

``sha256.data`` is the checksum of the bytes of all tensors in the order of their names.
``sha256.description`` is the checksum of everything else: the description, the format, the writer,
``sha256.data`` and each tensor's name, dtype and shape. So a header can be trusted before the
tensors are read, and a flipped bit is an error, not another model.

The safetensors library writes the files. This module reads them, since a file may come from anyone:
it compares the size of the file with the header before it allocates memory, and accounts for each
byte. The reader of the library accepts names that occur twice and unknown fields, and it maps the
file into memory: when another process truncates the file, this process ends.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, overload

import numpy

from xpnet.backend import NetworkSpec
from xpnet.errors import InputError, ModelFileError
from xpnet.modelfile.disk import open_plain, write_whole
from xpnet.modelfile.values import TENSORS, canonical, parse, typed
from xpnet.models.inputs import check_spec

FORMAT = 1
"""Version of the format that is written, and the newest one that is read."""
HEADER_LIMIT = 16 * 2**20
"""Maximum length of a header in bytes; the tensors are not part of it."""
CHECKED_BLOCK = 2**20
"""Number of bytes of a file that are read at once where only their checksum is needed."""
DAMAGED_TENSORS = "the checksum of its tensors does not hold; it is damaged"
"""What is wrong with a file whose tensors are not those that were written."""
DTYPES = {code: numpy.dtype(name).newbyteorder("<") for name, code in TENSORS.items()}
"""The dtype in a file for each code of safetensors."""


@dataclass(frozen=True)
class Tensor:
    """The entry of a tensor in a header.

    data_offsets : where its bytes begin and end in the data
    """

    dtype: Literal["F32", "F64", "I64", "U8", "U32", "U64"]
    shape: tuple[int, ...]
    data_offsets: tuple[int, ...]


@dataclass(frozen=True)
class Description:
    """The description of a file of any kind.

    kind : name of the class; network : the network whose parameters it holds
    settings : further values that its kind needs; extra : the values that the user added
    format, writer : version of the format, and of the xpnet that wrote the file
    """

    kind: str
    network: NetworkSpec
    settings: dict[str, Any]
    extra: dict[str, object]
    format: int = FORMAT
    writer: str = field(default_factory=lambda: version("xpnet"))

    def __post_init__(self) -> None:
        """Raise ValueError unless the spec describes a network."""
        spec = self.network
        hidden = len(spec.widths) - 2
        distinct_names = len(set(spec.names))
        has_names = spec.members == 1 and len(spec.names) == distinct_names == 2 * spec.layers
        has_layers = hidden >= 0 and len(spec.activations) == hidden
        has_rates = len(spec.dropout) in (0, hidden)
        is_seed = 0 <= spec.seed < 2**63
        if not ((has_names or not spec.names) and has_layers and has_rates and is_seed):
            raise ValueError(
                "the widths, activations, rates, names and seed of its network do not belong "
                "together"
            )
        check_spec(spec)


def write(
    path: str | Path,
    description: Description,
    tensors: dict[str, numpy.ndarray],
    check: Callable[[Description], object] = lambda _: None,
) -> None:
    """Write a file; equal descriptions and tensors give equal bytes.

    tensors : NumPy arrays of the dtypes of ``TENSORS``, any strides
    check : is called with the description as it will be read; a ValueError from it means that the
        file would not open

    Raises InputError for what a file cannot hold or would not return unchanged, ModelFileError
    where the file cannot be written.
    """
    try:
        from safetensors.numpy import save
    except ImportError:
        raise ModelFileError(
            "Model files need the package safetensors; it is not installed. "
            "Install it: pip install safetensors."
        ) from None
    try:
        content = _content(save, description, tensors)
        check(read_header(BytesIO(content)).description)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"A model file must return the model unchanged; this one would not: {error}. "
            "Use skops.io.dump."
        ) from error
    write_whole(path, content)


def _described_network(spec: NetworkSpec) -> dict[str, object]:
    """Return a spec as JSON values. What most networks lack is left out, and so earlier versions
    open their files.
    """
    described = asdict(spec)
    if not spec.monotonic:
        del described["monotonic"]
    return described


def _content(
    save: Callable[..., bytes], description: Description, tensors: dict[str, numpy.ndarray]
) -> bytes:
    """Return the bytes of a file: tensors, description, and checksums over both."""
    envelope: dict[str, Any] = {
        "description": {**vars(description), "network": _described_network(description.network)}
    }
    envelope |= {name: envelope["description"].pop(name) for name in ("format", "writer")}
    arrays = {name: numpy.asarray(array, order="C") for name, array in sorted(tensors.items())}
    shapes = {name: [TENSORS[array.dtype.name], *array.shape] for name, array in arrays.items()}
    data = sha256()
    for array in arrays.values():
        data.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    texts = {name: canonical(value) for name, value in envelope.items()}
    sums = {"data": data.hexdigest(), "description": _seal(texts, data.hexdigest(), shapes)}
    return save(arrays, {"xpnet": _joined({**texts, "sha256": canonical(sums)})})


@overload
def read(
    path: str | Path, *, with_tensors: Literal[True] = True
) -> tuple[Description, dict[str, numpy.ndarray]]: ...


@overload
def read(
    path: str | Path, *, with_tensors: Literal[False]
) -> tuple[Description, dict[str, Tensor]]: ...


def read(
    path: str | Path, *, with_tensors: bool = True
) -> tuple[Description, dict[str, numpy.ndarray] | dict[str, Tensor]]:
    """Return the description and, by name, the tensors as NumPy arrays on the host.

    with_tensors : False leaves the tensors unread and returns their entries

    Raises ModelFileError for a file that is damaged, truncated or newer, or is no model file.
    """
    with open_plain(path) as file, _naming(path):
        header = read_header(file)
        tensors: dict[str, numpy.ndarray] | dict[str, Tensor]
        tensors = _tensors(file, header) if with_tensors else header.entries
        return header.description, tensors


def check_tensors(path: str | Path) -> None:
    """Raise ModelFileError unless the checksum of the tensors' bytes holds.

    They are read block by block, and take no memory of their size.
    """
    with open_plain(path) as file, _naming(path):
        header = read_header(file)
        begin = file.tell()
        digest = sha256()
        for _, entry in sorted(header.entries.items()):
            first, end = (begin + offset for offset in entry.data_offsets)
            file.seek(first)
            for place in range(first, end, CHECKED_BLOCK):
                digest.update(file.read(min(CHECKED_BLOCK, end - place)))
        _require(digest.hexdigest() == header.checksum, DAMAGED_TENSORS)


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Turn what reading a damaged or hostile file raises into ModelFileError, which names it."""
    try:
        yield
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
            f"{path} is damaged or no model file: {error}. Name a file that `save` or "
            "xpnet train wrote."
        ) from error


class FileHeader(NamedTuple):
    """The header of a model file.

    description : the model
    entries : the dtypes, shapes and places of the tensors, by name
    checksum : the checksum of the tensors' bytes
    """

    description: Description
    entries: dict[str, Tensor]
    checksum: str


def read_header(file: BinaryIO) -> FileHeader:
    """Read the header of a file, which is then at the tensors."""
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
    is_ours = (
        isinstance(metadata, dict)
        and set(metadata) == {"xpnet"}
        and isinstance(metadata["xpnet"], str)
    )
    _require(is_ours, "it has no description by xpnet (other safetensors files hold no such model)")
    tensors = {name: typed(entry, Tensor) for name, entry in entries.items()}
    check_places(tensors, size - 8 - length)
    description, checksum = _unseal(metadata["xpnet"], tensors)
    return FileHeader(description, tensors, checksum)


def check_places(tensors: dict[str, Tensor], data_size: int) -> None:
    """Require that the tensors fill the data, one after the other, each with its shape's size."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        is_shape = all(size >= 0 for size in tensor.shape) and len(tensor.shape) <= 3
        _require(is_shape, f"the shape of tensor {name!r} is not made of up to three counts")
        begin = end
        end = begin + prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
        _require(
            tensor.data_offsets == (begin, end),
            f"tensor {name!r} has another size than its shape, overlaps another or leaves a gap",
        )
    _require(
        end == data_size,
        f"its tensors take {end} bytes and it has {data_size}; it is cut short or has grown",
    )


def _unseal(text: str, tensors: dict[str, Tensor]) -> tuple[Description, str]:
    """Return description and checksum of the tensors from a text.

    Raises ValueError for another format, and where the checksum of the text does not hold.
    """
    envelope = parse(text)
    format_ = envelope["format"]
    sums = envelope.pop("sha256")
    newer = f"it has format {format_}, and this xpnet reads up to {FORMAT}; install a newer xpnet"
    _require(format_ in range(1, FORMAT + 1), newer)
    shapes = {name: [tensor.dtype, *tensor.shape] for name, tensor in tensors.items()}
    texts = {name: canonical(value) for name, value in envelope.items()}
    seal = _seal(texts, sums["data"], shapes)
    # xpnet writes one text only. Another text of the same values, such as 1E-5 for 1e-5, comes from
    # a flipped bit.
    own_text = _joined({**texts, "sha256": canonical(sums)})
    is_intact = seal == sums["description"] and text == own_text
    _require(is_intact, "the checksum of its description does not hold; it is damaged")
    return typed({**envelope.pop("description"), **envelope}, Description), sums["data"]


def _seal(texts: dict[str, str], data_sha256: str, shapes: Mapping[str, Sequence[object]]) -> str:
    """Return the checksum of description, entries of the tensors, and checksum of their bytes.

    texts : the canonical texts of the description, the format and the writer, by their names
    """
    sealed = {**texts, "data": canonical(data_sha256), "tensors": canonical(shapes)}
    return sha256(_joined(sealed).encode()).hexdigest()


def _joined(texts: dict[str, str]) -> str:
    """Return the canonical text of an object. texts : those of its values, by their names

    A description of a wide table is long, and so its text is made once for all uses.
    """
    return "{" + ",".join(f"{canonical(name)}:{texts[name]}" for name in sorted(texts)) + "}"


def _tensors(file: BinaryIO, header: FileHeader) -> dict[str, numpy.ndarray]:
    """Return the tensors of a file. Raises ValueError where their checksum does not hold."""
    size = max((entry.data_offsets[1] for entry in header.entries.values()), default=0)
    data = numpy.empty(size, dtype=numpy.uint8)
    bytes_read = file.readinto(data)  # type: ignore[attr-defined]
    _require(bytes_read == size, "it was cut short while it was read")
    digest = sha256()
    tensors = {}
    for name, entry in sorted(header.entries.items()):
        part = data[slice(*entry.data_offsets)]
        digest.update(part.data)
        stored = part.view(DTYPES[entry.dtype]).reshape(entry.shape)
        # An array of its own, in this machine's byte order.
        tensors[name] = stored.astype(stored.dtype.newbyteorder("="))
    _require(digest.hexdigest() == header.checksum, DAMAGED_TENSORS)
    return tensors


def _require(holds: bool, otherwise: str) -> None:
    """Raise ValueError with a reason unless a condition holds."""
    if not holds:
        raise ValueError(otherwise)
