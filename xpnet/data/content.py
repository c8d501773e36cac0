"""The bytes of a data file: plain or compressed, from a path or from standard input."""

import io
import sys
from pathlib import Path
from typing import Any

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
"""Endings that a file may have beside that of its format, and pyarrow's name of what they stand for."""

STDIN = "-"
_MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
"""Compressed content begins with these bytes."""


class Content:
    """A file's content, which can be read from its beginning more than once.

    name : for messages; suffix : of its format (``.csv``), without that of its compression
    """

    def __init__(self, source: str | Path) -> None:
        self.path = Path(source)
        self._bytes: bytes | None = None
        if str(source) == STDIN:
            self.name, self._bytes = "stdin", sys.stdin.buffer.read()
            self.compression = next((kind for mark, kind in _MARKS.items() if self._bytes.startswith(mark)), None)
            self.suffix = _format_of(self.beginning())
            return
        self.name = self.path.name
        self.compression = COMPRESSED.get(self.path.suffix.lower())
        named = self.path.with_suffix("") if self.compression else self.path
        self.suffix = named.suffix.lower()

    def open(self) -> Any:
        """Return a pyarrow stream over the content, decompressed."""
        import pyarrow

        raw = _opened(self.path) if self._bytes is None else pyarrow.BufferReader(self._bytes)
        return pyarrow.CompressedInputStream(raw, self.compression) if self.compression else raw

    def seekable(self) -> Any:
        """A binary file over the content that can be sought in."""
        if self._bytes is None and not self.compression:
            return self.path.open("rb")
        return io.BytesIO(self.whole())

    def whole(self) -> bytes:
        """Return all of it, decompressed."""
        with self.open() as stream:
            return bytes(stream.read())

    @property
    def in_memory(self) -> bool:
        """Return whether the content came from standard input."""
        return self._bytes is not None

    def text_bytes(self, sample: int) -> int:
        """About how many bytes the file has when it is decompressed, by its beginning; 0 for what is in memory.

        sample : bytes to decompress
        """
        if self._bytes is not None:
            return 0
        packed = self.path.stat().st_size
        if not self.compression or packed <= sample // 1024:  # a byte holds a thousand at most
            return packed
        import pyarrow

        with _opened(self.path) as raw:
            found = len(pyarrow.CompressedInputStream(raw, self.compression).read(sample))
            return packed * found // max(1, raw.tell())

    def beginning(self, size: int = 64) -> bytes:
        """The first bytes, decompressed; all, where there are fewer."""
        with self.open() as stream:
            return bytes(stream.read(size))


def _opened(path: Path) -> Any:
    """Return a file as a pyarrow stream."""
    import pyarrow

    try:
        return pyarrow.OSFile(str(path))
    except UnicodeEncodeError:  # pyarrow opens no file whose name is not UTF-8
        return pyarrow.PythonFile(path.open("rb"), "r")


def _format_of(beginning: bytes) -> str:
    """The format of content that has no name."""
    marks = {b"PAR1": ".parquet", b"PK": ".npz", b"\x93NUMPY": ".npy", b"\x89HDF": ".h5"}
    return next((suffix for mark, suffix in marks.items() if beginning.startswith(mark)), ".csv")
