"""Files that appear whole or not at all, and are opened only where they are plain files."""

import os
import secrets
import shutil
import stat
import sys
import time
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from xpnet.errors import ModelFileError, did_you_mean_file

TEMPORARY = ".tmp"
"""Suffix of a file that is being written."""
WINDOWS = os.name == "nt"
RENAME_PAUSES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Pauses in seconds between attempts to rename a file on Windows."""


def write_whole(path: str | Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file so that a reader, or a crash, finds the old file or the new one, never a part.

    A file that is replaced keeps its owner, permissions and, where the system allows it, extended
    attributes; a warning says if the owner could not be kept. Other hard links to the file keep the
    old content. A process that is killed may leave an unfinished file in the same folder, with a
    name that ends in ``.tmp``.

    content : the whole content, or its parts

    Raises ModelFileError where the file cannot be written or is read-only; the old file is then
    unchanged.
    """
    path = Path(os.path.realpath(path))  # a link stays, and the file that it points to is replaced
    part = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        old = path.stat() if path.exists() else None
        if old is not None and not stat.S_ISREG(old.st_mode):
            raise OSError("it is a folder or a device")
        # The system grants a superuser all access.
        if old is not None and not (old.st_mode & 0o222 and os.access(path, os.W_OK)):
            raise OSError("it is read-only")
        with part.open("xb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            if old is not None:
                _take_over(part, path, old)
            os.fsync(file.fileno())
        _rename(part, path)
        _flush_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise ModelFileError(
            f"{path} must be writable; got: {reason}. The old file is unchanged."
        ) from error
    finally:
        remove(part)  # after a failure; otherwise it has been renamed


def _take_over(part: Path, path: Path, old: os.stat_result) -> None:
    """Copy permissions, attributes and owner of an old file; warn if the owner cannot be kept."""
    new = part.stat()
    if sys.platform != "win32" and (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.chown(part, old.st_uid, old.st_gid)
        except OSError:
            warnings.warn(
                f"{path} is replaced and could not keep its owner and group.", stacklevel=3
            )
    shutil.copystat(path, part)  # last: a change of owner takes some permissions away
    os.utime(part)


def remove(path: Path) -> None:
    """Remove a file if possible: Windows keeps a file that another process has open."""
    with suppress(OSError):
        path.unlink()


def _rename(part: Path, path: Path) -> None:
    """Rename a file. On Windows try again while another process has the old file open."""
    for pause in (*RENAME_PAUSES, None):
        try:
            os.replace(part, path)
            return
        except PermissionError:
            if not WINDOWS or pause is None:
                raise
            time.sleep(pause)


def _flush_folder(folder: Path) -> None:
    """Write the folder to the disk: it holds the name of the file, which a crash could lose."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows, which flushes renames itself
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_plain(path: str | Path) -> BinaryIO:
    """Open a file for reading.

    Raises ModelFileError for a missing file, a folder, a pipe, a device, and a file without the
    permission to read it.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # the reader would wait for a pipe without end
            raise OSError("it is a folder or a device")
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        remedy = did_you_mean_file(path) or "Check the path."
        raise ModelFileError(f"There is no model file {path}. {remedy}") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(
            f"A model file must be a readable file; got {path}: {reason}. Check the path."
        ) from error
