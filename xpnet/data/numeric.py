"""Text files whose features are all numbers: read piece by piece into one matrix, and never held twice."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy
import pyarrow
import pyarrow.compute
from pyarrow import csv

from xpnet.data.columns import as_numbers
from xpnet.data.content import Content
from xpnet.data.table import Table

if TYPE_CHECKING:
    from xpnet.data.text import TextReader

_PIECE, _LINES, _LARGEST = 2**22, 128, 2**28
"""Bytes of a piece; more where it would have fewer lines; at most."""

_THREADS = 8  # that parse; as many pieces are in memory


class Piece(NamedTuple):
    """Some rows: X (rows, features), and a table of the columns beside them."""

    X: numpy.ndarray
    rest: pyarrow.Table


def read_numbers(reader: "TextReader") -> Table | None:
    """The table of a file whose features are all numbers; None for any other, and for one that cannot be read so.

    Raises DataFileError as :func:`xpnet.data.columns.as_numbers` does.
    """
    features = reader.columns.features
    if reader.guessed() != set(features):
        return None
    try:
        X, rest = _read(reader, features)
    except pyarrow.ArrowInvalid:  # who reads it as a whole finds what is wrong, and where
        reader.ragged.clear()
        return None
    return as_numbers(reader.content.name, X, rest, reader.columns, reader.request)


def _read(reader: "TextReader", features: list[str]) -> tuple[numpy.ndarray, pyarrow.Table]:
    """All rows. Threads parse, each a piece of its own, which is quicker than a piece by several."""
    parse, rows = _Parser(reader, features), _Rows(len(features), numpy.dtype(reader.dtype))
    size = min(max(_PIECE, _LINES * reader.written.line), _LARGEST)
    threads = min(pyarrow.cpu_count(), _THREADS)
    expected = _bytes(reader.content)
    rest, waiting = [], deque[Future[Piece]]()
    with ThreadPoolExecutor(threads) as pool, reader.stream() as stream:
        try:
            for number, text in enumerate(_pieces(stream, size)):
                waiting.append(pool.submit(parse, text, number))
                if len(waiting) > threads:
                    rest.append(rows.add(waiting.popleft().result(), expected / size))
            rest += [rows.add(piece.result(), expected / size) for piece in waiting]
        except BaseException:  # Ctrl-C among them
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    pyarrow.default_memory_pool().release_unused()
    return rows.whole(), pyarrow.concat_tables(rest)


def _bytes(content: Content) -> float:
    """Of a file that is not compressed; else, nothing."""
    return content.path.stat().st_size if content.path.is_file() and not content.compression else 0


def _pieces(stream: Any, size: int) -> Iterator[bytes]:
    """The text in pieces of about so many bytes, each of whole lines."""
    rest = b""
    while text := stream.read(size):
        end = text.rfind(b"\n") + 1
        if end:
            yield b"".join((rest, memoryview(text)[:end]))
            rest = text[end:]
        else:
            rest += text
    if rest:
        yield rest


class _Parser:
    """Makes rows of text."""

    def __init__(self, reader: "TextReader", features: list[str]) -> None:
        options = reader.options(set(features), threads=False)
        self.convert, self.parse = options["convert_options"], options["parse_options"]
        self.words, self.convert.null_values = self.convert.null_values, [""]
        self.header, self.above = reader.written.header, reader.written.above
        self.features, self.dtype = features, reader.dtype
        inside = set(features)
        self.others = [name for name in reader.columns.all if name not in inside]

    def __call__(self, text: bytes, number: int) -> Piece:
        """The rows of a piece. number : of the piece, the first of which has lines above its rows

        Raises pyarrow.ArrowInvalid where a cell is no number, for ragged lines, and where a quote stays open.
        """
        if text.count(b'"') % 2:
            raise pyarrow.ArrowInvalid("a cell goes on in the next piece")
        content = self._without_words(text, number)
        if content is None:
            self.convert.null_values = self.words  # which are looked for in each cell, from here on
            content = self._read(text, number)
        batches = content.select(self.features).combine_chunks().to_batches()
        parts = [batch.to_tensor(null_to_nan=True).to_numpy() for batch in batches]
        none = numpy.empty((0, len(self.features)), self.dtype)
        return Piece(numpy.concatenate([none, *parts]), content.select(self.others))

    def _without_words(self, text: bytes, number: int) -> pyarrow.Table | None:
        """The rows of a piece in which no word stands for an empty cell; None where one does."""
        try:
            content = self._read(text, number)
        except pyarrow.ArrowInvalid:
            return None
        words = pyarrow.array(self.words[1:], pyarrow.string())
        texts = [chunk.dictionary for name in self.others for chunk in content.column(name).chunks]
        found = any(pyarrow.compute.any(pyarrow.compute.is_in(text, value_set=words)).as_py() for text in texts)
        return None if found else content

    def _read(self, text: bytes, number: int) -> pyarrow.Table:
        how = csv.ReadOptions(
            use_threads=False,
            block_size=len(text) + 1,
            column_names=self.header,
            skip_rows=0 if number else self.above,
        )
        return csv.read_csv(
            pyarrow.BufferReader(text), read_options=how, parse_options=self.parse, convert_options=self.convert
        )


class _Rows:
    """A matrix that grows, in place where the system can enlarge memory."""

    def __init__(self, width: int, dtype: numpy.dtype) -> None:
        self.X, self.count = numpy.empty((0, width), dtype), 0

    def add(self, piece: Piece, expected: float) -> pyarrow.Table:
        """Add the rows of a piece, and return what is beside them. expected : pieces in all, as far as is known"""
        end = self.count + len(piece.X)
        if end > len(self.X):
            room = math.ceil(expected * len(piece.X) * 1.02) if not self.count else 0
            self._resize(max(end + len(self.X) // 2, room))
        self.X[self.count : end] = piece.X
        self.count = end
        return piece.rest

    def whole(self) -> numpy.ndarray:
        """All rows."""
        self._resize(self.count)
        return self.X

    def _resize(self, rows: int) -> None:
        if self.count:
            self.X.resize((rows, self.X.shape[1]), refcheck=False)  # nobody else has it
        else:
            self.X = numpy.empty((rows, self.X.shape[1]), self.X.dtype)  # of which memory is taken when it is filled
