"""Files appear whole, and keep their permissions, whatever happens while they are written."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import xpnet
from xpnet.modelfile import disk
from xpnet.modelfile.disk import write_whole

KILLED = """
import os, signal, sys
from xpnet.modelfile.disk import write_whole
setattr(os, sys.argv[2], lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL))
write_whole(sys.argv[1], b"new")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes otherwise")
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_killed_save_leaves_the_old_file(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), moment], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert {file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith(".tmp")} == {
        b"old"
    }


def test_nothing_is_left_beside_a_file(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        write_whole(tmp_path / "model", content)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"model": content}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_permissions_stay(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "model"
    path.touch()
    path.chmod(mode)
    write_whole(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="extended attributes are Linux's here")
def test_extended_attributes_stay(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.touch()
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError as error:
        assert error.errno == errno.ENOTSUP  # a file system without them has none to keep
        return
    write_whole(path, b"new")
    assert (path.read_bytes(), os.getxattr(path, "user.note")) == (b"new", b"kept")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="files are given away by root only"
)
@pytest.mark.parametrize("mode", [0o600, 0o4640])
def test_root_leaves_a_file_to_its_owner(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "model"
    path.touch()
    os.chown(path, 12345, 23456)
    path.chmod(mode)
    write_whole(path, b"new")
    facts = path.stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (12345, 23456, mode)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_an_owner_that_cannot_stay_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where one of a group saves over the file of another."""
    path = tmp_path / "model"
    path.touch()

    def refuse(*args: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    stat_of = Path.stat

    def owned(file: Path, **options: Any) -> os.stat_result:
        found = stat_of(file, **options)
        return os.stat_result([*found[:4], 12345, *found[5:]]) if file == path else found

    monkeypatch.setattr(Path, "stat", owned)
    monkeypatch.setattr(os, "chown", refuse)
    with pytest.warns(UserWarning, match="could not keep its owner"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_a_new_file_has_the_permissions_that_the_process_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "model", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640


def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(xpnet.ModelFileError, match="read-only"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["a" * 255, "ä" * 127])
def test_names_as_long_as_the_system_takes(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, b"content")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_only_windows_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def refuse(*paths: Any) -> None:
        calls.append(paths)
        raise PermissionError("no")

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(disk, "RENAME_PAUSES", (0.0, 0.0))
    with pytest.raises(xpnet.ModelFileError, match="no"):
        write_whole(tmp_path / "m", b"content")
    assert len(calls) == (3 if os.name == "nt" else 1)
    assert list(tmp_path.iterdir()) == []
