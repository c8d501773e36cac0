"""Files that appear whole or not at all, and are opened only where they are plain files."""

import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO

from xpnet.errors import ModelFileError

TEMPORARY = ".tmp"  # the ending of a file that is being written


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old file or the new one, never a part.

    Raises ModelFileError where it cannot be written; the old file is then untouched.
    """
    path = Path(os.path.realpath(path))  # a link stays, and what it leads to is replaced
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is a folder or a device")
        _write_and_rename(part, path, content)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelFileError(
            f"A file is written to a folder that exists and may be written to; {path} could not be: "
            f"{error.strerror or error}. What was there before is untouched."
        ) from error
    except BaseException:  # Ctrl-C among them
        part.unlink(missing_ok=True)
        raise


def _write_and_rename(part: Path, path: Path, content: bytes) -> None:
    with part.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make the rename last: the name of a file lies in its folder, which is written on its own."""
    if not hasattr(os, "O_DIRECTORY"):  # where folders cannot be opened (Windows), renames are flushed by the system
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_parts(folder: Path, pattern: str) -> None:
    """Remove what a process that was killed while it wrote files of that pattern left behind."""
    for part in folder.glob(f".{pattern}.*{TEMPORARY}"):
        part.unlink(missing_ok=True)


def open_plain(path: str | Path) -> BinaryIO:
    """Open a file for reading.

    Raises ModelFileError where there is none, where it is a folder, a pipe or a device, or where it may not be read.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, without end
            raise ModelFileError(f"A model file is a plain file; {path} is a folder or a device.")
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        if isinstance(error, ModelFileError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{path} cannot be opened as a model file: {reason}. Check the path.") from error
