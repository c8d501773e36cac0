"""Files that appear whole or not at all, and are opened only where they are plain files."""

import os
import secrets
import stat
import sys
import time
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from xpnet.errors import ModelFileError

TEMPORARY = ".tmp"  # the ending of a file that is being written
WINDOWS = os.name == "nt"
RENAME_PAUSES = (0.01, 0.03, 0.1, 0.3, 1.0)  # seconds
DESCRIPTORS = "/proc/self/fd"  # where Linux lists the files that this process has open


def write_whole(path: str | Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old file or the new one, never a part.

    content : all of it, or piece by piece
    A file that is replaced keeps its owner, permissions and extended attributes; a warning tells which of them could
    not be kept. Other hard links to it keep the old content. Raises ModelFileError where it cannot be written or is
    read-only; the old file is then untouched.
    """
    path = Path(os.path.realpath(path))  # a link stays, and the file that it leads to is replaced
    part = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        old = _replaceable(path)
        lost = _write_part(part, content, path, old)
        _rename(part, path)
        _flush_folder(path.parent)
        if lost:
            warnings.warn(f"{path} was replaced and could not keep its {' and '.join(lost)}.", stacklevel=2)
    except OSError as error:
        remove(part)
        raise ModelFileError(
            f"A file is written to a folder that exists and may be written to; {path} could not be: "
            f"{error.strerror or error}. What was there before is untouched."
        ) from error
    except BaseException:  # Ctrl-C among them
        remove(part)
        raise


def _replaceable(path: Path) -> os.stat_result | None:
    """Return the owner and permissions of the file that is to be replaced; None where there is none.

    Raises OSError for what must not be replaced.
    """
    if not path.exists():
        return None
    if not path.is_file():
        raise OSError("it is a folder or a device")
    old = path.stat()
    if not old.st_mode & 0o222 or not os.access(path, os.W_OK):  # to a superuser the system grants every access
        raise OSError("it is read-only")
    return old


def _write_part(part: Path, content: bytes | Iterable[bytes], path: Path, old: os.stat_result | None) -> list[str]:
    """Write a file which gets its name last, where the system can: a process that is killed then leaves nothing.

    Returns what of the old file at ``path`` could not be kept.
    """
    nameless = _open_nameless(part.parent)
    with part.open("xb") if nameless is None else os.fdopen(nameless, "wb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)
        file.flush()
        lost = [] if old is None else _keep(file.fileno(), path, old)
        os.fsync(file.fileno())
        if nameless is not None:
            # An absolute path needs no src_dir_fd, but without one os.link does not follow the link.
            os.link(f"{DESCRIPTORS}/{nameless}", part, src_dir_fd=nameless, follow_symlinks=True)
    return lost


def _keep(descriptor: int, path: Path, old: os.stat_result) -> list[str]:
    """Give a new file the owner, permissions and extended attributes of an old one; returns which were refused."""
    if sys.platform == "win32":  # its files inherit theirs from the folder
        return []
    new, lost = os.fstat(descriptor), []
    for what, differs, owner in (
        ("owner", new.st_uid != old.st_uid, (old.st_uid, -1)),
        ("group", new.st_gid != old.st_gid, (-1, old.st_gid)),
    ):
        try:
            if differs:
                os.fchown(descriptor, *owner)
        except OSError:
            lost.append(what)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))  # last: a change of owner takes some permissions away
    new_attributes = _attributes(descriptor)
    for name, value in _attributes(path).items():
        try:
            if sys.platform == "linux" and new_attributes.get(name) != value:
                os.setxattr(descriptor, name, value)
        except OSError:
            lost.append(f"attribute {name}")
    return lost


def _attributes(file: int | Path) -> dict[str, bytes]:
    """Return the extended attributes of a file; none where Python or the file system has no such thing."""
    if sys.platform != "linux":
        return {}
    try:
        return {name: os.getxattr(file, name) for name in os.listxattr(file)}
    except OSError:
        return {}


def _open_nameless(folder: Path) -> int | None:
    """Open a file in this folder that has no name yet; None where the system or the file system has no such files."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir(DESCRIPTORS):
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:  # if nothing can be written here at all, the file with a name will tell
        return None


def remove(path: Path) -> None:
    """Remove a file, if it can be: Windows keeps one that another process has open."""
    with suppress(OSError):
        path.unlink()


def _rename(part: Path, path: Path) -> None:
    """Rename a file. Windows refuses while another process has the old file open: it is asked again for a while."""
    for pause in RENAME_PAUSES:
        try:
            os.replace(part, path)
            return
        except PermissionError:
            if not WINDOWS:
                raise
            time.sleep(pause)
    os.replace(part, path)


def _flush_folder(folder: Path) -> None:
    """Write the folder to the disk: it holds the name of the file, which would else be lost in a crash."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows, which flushes renames itself
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_parts(folder: Path, pattern: str) -> None:
    """Remove the unfinished files of that pattern, which a killed process has left behind."""
    for part in folder.glob(f".{pattern}.*{TEMPORARY}"):
        remove(part)


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
