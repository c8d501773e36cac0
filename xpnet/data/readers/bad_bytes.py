"""Bytes of a text file that are not text: those that its encoding cannot decode, and zero bytes."""

import csv
import io
import re
from collections.abc import Sequence
from typing import BinaryIO

from xpnet.errors import DataFileError

KEEP_BYTES = "surrogateescape"
"""Python's way to decode bytes that are not of an encoding: each becomes one of 128 surrogates."""

_NOT_TEXT = re.compile("[\0\udc80-\udcff]")
"""Pattern of characters that text cannot hold, in a string that was decoded with `KEEP_BYTES`."""


def holds_bad_bytes(text: str) -> bool:
    """Return whether a string that was decoded with `KEEP_BYTES` holds bytes that are not text."""
    return _NOT_TEXT.search(text) is not None


def raise_for_bad_bytes(
    stream: BinaryIO,
    *,
    name: str,
    encoding: str,
    separator: str,
    names: Sequence[str],
    skip_rows: int = 0,
) -> None:
    """Raise DataFileError for the first cell with a byte that is not text; return if there is none.

    stream : the content of the file, decompressed; name : of the file, for the message
    names : of the columns; skip_rows : number of lines above the header
    """
    shown = encoding.upper() if encoding.startswith("utf") else encoding
    with io.TextIOWrapper(stream, encoding, errors=KEEP_BYTES, newline="") as text:
        for _ in range(skip_rows):
            text.readline()
        header = skip_rows + 1
        for row, cells in enumerate(csv.reader(text, delimiter=separator), header):
            for place, cell in enumerate(cells):
                bad = _NOT_TEXT.search(cell)
                if bad is None:
                    continue
                in_header = row == header or place >= len(names)
                column = f"column {place + 1 if in_header else repr(names[place])}"
                raise DataFileError(
                    f"{name}: text must be {shown}; row {row:,}, {column} holds "
                    f"{_described(bad[0])}. --encoding names the file's encoding, such as cp1252 "
                    "(Windows), latin-1 or utf-16-le."
                )


def _described(character: str) -> str:
    """Return a name of a byte that is not text. character : as `KEEP_BYTES` decodes the byte"""
    return "a zero byte" if character == "\0" else f"the byte {ord(character) - 0xDC00:#04x}"
