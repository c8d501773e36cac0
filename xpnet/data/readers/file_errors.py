"""One error in place of all that libraries raise when a data file cannot be read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xpnet.errors import DataFileError

MAX_QUOTED = 120
"""Maximum characters of another library's message, which may quote the damaged file."""

_PARQUET_CONTEXT = re.compile("^.*Could not open Parquet input source '([^']*)': ")
"""The beginning of pyarrow's messages, before the reason: the attempt, and the path."""


@contextmanager
def reading(name: str, remedy: str) -> Iterator[None]:
    """Raise DataFileError in place of other errors: libraries do not list what they raise.

    name : of the file; remedy : what the user can do, without the full stop
    """
    try:
        yield
    except (DataFileError, MemoryError):
        raise
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        context = _PARQUET_CONTEXT.match(first_line)
        if context is not None:  # of a folder, the file that is meant
            name = f"{name}: {Path(context[1]).name}" if Path(context[1]).name != name else name
            first_line = first_line[context.end() :]
        reason = first_line.partition(". ")[0][:MAX_QUOTED].removesuffix(".")
        raise DataFileError(f"{name}: this file cannot be read: {reason}. {remedy}.") from error
