"""The cache of compiled code: files of machine code with checksums, which later processes use
again.

All files of one environment are in one folder. The folder's name is a hash of everything that
determines the machine code: the sources of this package as they were imported, the versions of
Python, NumPy, Numba and llvmlite, Numba's settings and the processor. So code of another version is
never loaded, and a program stores nothing after the package has been upgraded under it. A file that
is damaged, truncated or belongs to another function counts as absent. If there are more than
``KEPT`` folders of environments, the least recently used ones are removed.

The folders of a user belong to that user alone: code that another user could have written is not
run.
"""

import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import numpy

from xpnet.ops import activations, gated, updates

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

KEPT = 8
"""Maximum number of folders of environments: several versions of Python, and several processors
that share a disk.
"""

DIGEST = 32  # bytes of a SHA-256

FORMULAS = tuple(update.scales for update in updates.UPDATES.values() if update.scales is not None)
"""The functions of ``xpnet.ops`` that are compiled. They may have been imported long before this
package.
"""

NUMBERS = {
    (module.__name__, name): value
    for module in (activations, gated, updates)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, float | tuple)
}
"""The constants of ``xpnet.ops`` that compiled formulas contain."""


class CodeCache:
    """Entries of bytes by name, each in a file of that name, in the first folder that this user can
    write.

    Parameters
    ----------
    bases : folders in which the user's own folder is created, in order of preference
    environment : what the code depends on, as letters and digits
    """

    def __init__(self, bases: list[Path], environment: str) -> None:
        self.folder = next(filter(None, (_open_folder(base, environment) for base in bases)), None)

    def load(self, name: str) -> bytes | None:
        """Return the entry's content, or None if the entry is missing or damaged."""
        if self.folder is None:
            return None
        try:
            entry = (self.folder / f"{name}.code").read_bytes()
        except OSError:
            return None
        content = entry[DIGEST:]
        return content if entry[:DIGEST] == _seal(name, content) else None

    def store(self, name: str, content: bytes) -> None:
        """Write an entry, and replace an entry of the same name; raises OSError if that fails.

        A half-written file counts as absent, so that no temporary file has to be written and
        renamed.
        """
        if self.folder is None:
            raise OSError("there is no folder that is yours alone and can be written")
        (self.folder / f"{name}.code").write_bytes(_seal(name, content) + content)


def _seal(name: str, content: bytes) -> bytes:
    """Return a checksum of an entry and its name, so that code under another function's name is not
    loaded.
    """
    return hashlib.sha256(name.encode() + b"\n" + content).digest()


def _open_folder(base: Path, environment: str) -> Path | None:
    """Return the folder of an environment, which is created if needed; None if that fails, or if
    others can write there.
    """
    own = base / f"xpnet-code{user()}"
    folder = own / environment
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(own):
            return None
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            for old in sorted(own.iterdir(), key=lambda f: f.stat().st_mtime, reverse=True)[KEPT:]:
                shutil.rmtree(old, ignore_errors=True)
        NamedTemporaryFile(dir=folder).close()
        os.utime(folder)
    except OSError:
        return None
    return folder


def user() -> str:
    """Return the part of a folder's name that identifies the user; it is empty on Windows, where
    each user has a separate folder.
    """
    return f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""


def _is_private(folder: Path) -> bool:
    """Return whether a folder belongs to this user, and no other user may write into it."""
    if not hasattr(os, "geteuid"):
        return True
    status = folder.lstat()
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & 0o022
    )


@cache
def code_cache() -> CodeCache:
    """Return the cache of this process.

    It is in the folder that Numba's setting names, or else next to this package or in the user's
    cache folder.
    """
    from numba import config

    home = user_cache_folder()
    bases = [Path(__file__).parents[1] / "__pycache__", *([home] if home.is_absolute() else [])]
    return CodeCache([Path(config.CACHE_DIR)] if config.CACHE_DIR else bases, fingerprint())


def user_cache_folder() -> Path:
    """Return this platform's folder for a user's caches of xpnet; a relative path if there is no
    home folder.
    """
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local") / "xpnet" / "Cache"
    if sys.platform == "darwin":
        return home / "Library/Caches/xpnet"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "xpnet"


def fingerprint() -> str:
    """Return a hash of everything on which compiled code depends, 32 letters and digits."""
    import llvmlite
    import numba

    from xpnet_numba.internals import compiler_target

    settings = sorted(
        (k, v) for k, v in os.environ.items() if k.startswith("NUMBA_") and k not in _NO_MATTER
    )
    facts = [
        sys.version,
        *(module.__version__ for module in (numpy, numba, llvmlite)),
        compiler_target(),
        settings,
        _IMPORTED,
        NUMBERS,
        *((f.__code__.co_code, f.__code__.co_names, f.__code__.co_consts) for f in FORMULAS),
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


_NO_MATTER = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")


def digest_of_sources() -> str:
    """Return a checksum of this package's sources on disk."""
    return hashlib.sha256(repr([*sources(resources.files("xpnet_numba"))]).encode()).hexdigest()


def sources(folder: "Traversable") -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each source file of a package, which may be in an archive."""
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_file() and item.name.endswith((".py", ".pyc")):
            yield item.name, item.read_bytes()
        elif item.is_dir() and item.name != "__pycache__":
            yield item.name, b""
            yield from sources(item)


_IMPORTED = digest_of_sources()
"""Checksum of the sources with which this program began: ``xpnet_numba`` imports this module before
any compiled one.
"""


def sources_are_as_imported() -> bool:
    """Return whether no source has changed since import. After a change, functions in memory may be
    old or new.
    """
    return digest_of_sources() == _IMPORTED
