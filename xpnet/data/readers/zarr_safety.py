"""Checks of Zarr arrays that make it safe to read a group of unknown origin."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from xpnet.errors import InputError

_PLAIN_CODECS = frozenset(
    "adler32 astype bitround blosc bytes bz2 crc32 crc32c delta endian fixedscaleoffset fletcher32 "
    "gzip lz4 lzma packbits quantize sharding_indexed shuffle transpose vlen-utf8 zlib zstd".split()
)
"""Codecs that decode any bytes to numbers or text. Others, such as pickle, may run code."""

_BLOSC_HEADER_BYTES = 16
"""Length of the header of a chunk that Blosc has packed; its last four bytes are the length."""


class StoredArray(Protocol):
    """An array of a Zarr group. path : of its folder, from that of the group on"""

    @property
    def path(self) -> str: ...


def check_zarr(array: object) -> None:
    """Check that chunks of a Zarr array hold numbers or text; arrays of other libraries pass.

    Call it before a chunk is decoded, since codecs of objects may run code.

    Raises InputError for an array with another codec.
    """
    codecs = _codecs_of(array)
    if not _PLAIN_CODECS.issuperset(codecs):
        raise InputError(
            "A Zarr array must hold numbers or text, packed by codecs such as zstd or vlen-utf8; "
            f"got {', '.join(codecs)[:60]}. Write it again with zstd"
        )


def check_zarr_file(array: StoredArray, path: Path) -> None:
    """Check an array of a Zarr group in a folder: its codecs, its chunks, and links.

    path : the folder of the group

    Raises InputError as `check_zarr` does, ValueError for chunks that are damaged, and for a link,
    which may lead to any file that the user may read.
    """
    check_zarr(array)
    codecs = _codecs_of(array)
    folder = path / array.path
    _check_links(path, folder)
    if "blosc" in codecs:
        _check_blosc(folder, codecs)


def _check_links(path: Path, folder: Path) -> None:
    """Raise ValueError for a link in the folder of an array, or on the way to it from a group."""
    above = [parent for parent in folder.parents if parent.is_relative_to(path) and parent != path]
    for entry in (*above, folder, *folder.rglob("*")):
        if entry.is_symlink():
            raise ValueError(f"{entry.relative_to(path)} must lie in the group; it is a link")


def _codecs_of(array: object) -> list[str]:
    """Return the names of the codecs that pack a Zarr array; other arrays have none."""
    if type(array).__module__.partition(".")[0] != "zarr" or not hasattr(array, "metadata"):
        return []
    return [codec.removeprefix("numcodecs.") for codec in _codecs_in(array.metadata.to_dict())]


def _codecs_in(description: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all codecs in the description of an array, or of a codec with others."""
    for key in ("filters", "compressor", "codecs", "index_codecs"):
        codecs = description.get(key) or ()
        for codec in (codecs,) if isinstance(codecs, Mapping) else codecs:
            yield str(codec.get("id", codec.get("name")))
            yield from _codecs_in(codec.get("configuration") or {})


def _check_blosc(folder: Path, codecs: list[str]) -> None:
    """Raise ValueError for an array with a chunk that claims to be longer than its file.

    Blosc's decoder would read past the end. The claim is found where Blosc has packed whole chunks
    after any other codec.
    """
    if codecs[-1] != "blosc" or "sharding_indexed" in codecs:
        raise ValueError(f"Blosc must pack whole chunks, and last; got {', '.join(codecs)[:60]}")
    for chunk in folder.rglob("*"):
        if not chunk.is_file() or chunk.name.startswith(".") or chunk.name == "zarr.json":
            continue
        with chunk.open("rb") as file:
            header = file.read(_BLOSC_HEADER_BYTES)
        length = int.from_bytes(header[-4:], "little")
        if len(header) < _BLOSC_HEADER_BYTES or length > chunk.stat().st_size:
            raise ValueError(f"the chunk {chunk.relative_to(folder)} is damaged or cut off")
