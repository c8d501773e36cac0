"""The cache of compiled code: files of machine code, each sealed with a checksum, that outlive the process.

All files of one environment lie in one folder, whose name follows from everything that decides what the compiler makes:
the sources of this package as they were imported, the versions of Python, NumPy, Numba and llvmlite, Numba's settings
and the processor. So code from another version is never found, and a program under which the package is upgraded stores
nothing. A file that is damaged, cut short or another function's counts as absent.
Folders of other environments are removed once there are more than ``KEPT``, the one that rested longest first.

The folders of a user belong to that user alone: what could have been written by somebody else is not run.
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
from typing import Any

import numpy

from xpnet.ops import activations, gated, updates

KEPT = 8
"""Folders of environments that are kept: several versions of Python, several processors of a shared disk."""

DIGEST = 32  # bytes of a SHA-256

FORMULAS = tuple(update.scales for update in updates.UPDATES.values() if update.scales is not None)
"""The functions of ``xpnet.ops`` that are compiled, which may have been imported long before this package."""

NUMBERS = {
    (module.__name__, name): value
    for module in (activations, gated, updates)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, float | tuple)
}
"""The numbers of ``xpnet.ops``, which compiled formulas hold."""


class CodeCache:
    """Entries of bytes by name, in files that are called so, in the first of some folders that this user can write.

    Parameters
    ----------
    bases : folders in which the user's own folder is looked for, the first choice first
    environment : what the code depends on, as letters and digits
    """

    def __init__(self, bases: list[Path], environment: str) -> None:
        self.folder = next(filter(None, (_open_folder(base, environment) for base in bases)), None)

    def load(self, name: str) -> bytes | None:
        """The entry's content, or None where there is no entry or not a sound one."""
        if self.folder is None:
            return None
        try:
            entry = (self.folder / f"{name}.code").read_bytes()
        except OSError:
            return None
        content = entry[DIGEST:]
        return content if entry[:DIGEST] == _seal(name, content) else None

    def store(self, name: str, content: bytes) -> None:
        """Write an entry, in place of one of the same name; raises OSError where that fails.

        What is read or left half-written counts as absent, so that nothing has to be written aside and renamed.
        """
        if self.folder is None:
            raise OSError("there is no folder that is yours alone and can be written")
        (self.folder / f"{name}.code").write_bytes(_seal(name, content) + content)


def _seal(name: str, content: bytes) -> bytes:
    """A checksum of an entry and of its name: code that lies under another function's name is not that function's."""
    return hashlib.sha256(name.encode() + b"\n" + content).digest()


def _open_folder(base: Path, environment: str) -> Path | None:
    """The folder of an environment, made if need be; None where it cannot be, or others can write there."""
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
    """Return what tells this user's folder from another's; it is empty on Windows, where homes are apart."""
    return f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""


def _is_private(folder: Path) -> bool:
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

    It lies in the folder that Numba's setting names; else next to this package or in the user's cache folder.
    """
    from numba import config

    home = user_cache_folder()
    bases = [Path(__file__).parents[1] / "__pycache__", *([home] if home.is_absolute() else [])]
    return CodeCache([Path(config.CACHE_DIR)] if config.CACHE_DIR else bases, fingerprint())


def user_cache_folder() -> Path:
    """Return the folder in which this platform keeps a user's caches of xpnet; relative where there is no home."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local") / "xpnet" / "Cache"
    if sys.platform == "darwin":
        return home / "Library/Caches/xpnet"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "xpnet"


def fingerprint() -> str:
    """Everything on which compiled code depends, in 32 letters and digits."""
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
    """A checksum of this package's sources as they lie on disk now."""
    return hashlib.sha256(repr([*sources(resources.files("xpnet_numba"))]).encode()).hexdigest()


def sources(folder: Any) -> Iterator[tuple[str, bytes]]:
    """Name and content of every source file of a package, which may lie in an archive."""
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_file() and item.name.endswith((".py", ".pyc")):
            yield item.name, item.read_bytes()
        elif item.is_dir() and item.name != "__pycache__":
            yield item.name, b""
            yield from sources(item)


_IMPORTED = digest_of_sources()
"""The sources with which this program began: ``xpnet_numba`` imports this module before any that is compiled."""


def sources_are_as_imported() -> bool:
    """Return whether no source has changed since import; if one has, functions in memory may be old or new."""
    return digest_of_sources() == _IMPORTED
