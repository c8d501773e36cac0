"""One error for whatever the libraries raise when a data file cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager

from xpnet.errors import DataFileError

MAX_QUOTED = 300
"""Maximum characters of another library's message, which may quote the damaged file."""


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
        first_line = (str(error).splitlines() or [type(error).__name__])[0][:MAX_QUOTED]
        raise DataFileError(
            f"{name}: this file cannot be read: {first_line.removesuffix('.')}. {remedy}."
        ) from error
