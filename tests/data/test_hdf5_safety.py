"""An HDF5 file of unknown origin must not make a program read other files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.data_files import contents, look

from xpnet.data import open_data
from xpnet.errors import DataFileError

h5py = pytest.importorskip("h5py", reason="HDF5 files are read by h5py, the extra 'data'")

SECRET = np.arange(48, dtype="uint8").reshape(12, 4)
"""Content of another file, which no table may hold."""


def external_storage(file: Any, name: str, other: Path) -> None:
    """An array whose content is the bytes of another file."""
    file.create_dataset(name, shape=(12, 4), dtype="u1", external=[(str(other / "raw"), 0, 48)])


def external_link(file: Any, name: str, other: Path) -> None:
    """A link to an array of another HDF5 file."""
    file[name] = h5py.ExternalLink(str(other / "other.h5"), "/X")


def soft_link_to_external_link(file: Any, name: str, other: Path) -> None:
    """A link to a link to another file."""
    file["hidden"] = h5py.ExternalLink(str(other / "other.h5"), "/X")
    file[name] = h5py.SoftLink("/hidden")


def soft_link_through_external_group(file: Any, name: str, other: Path) -> None:
    """A link through a group of another file."""
    file["hidden"] = h5py.ExternalLink(str(other / "other.h5"), "/")
    file[name] = h5py.SoftLink("hidden/X")


def soft_link_to_external_storage(file: Any, name: str, other: Path) -> None:
    """A link to an array whose content lies in another file."""
    external_storage(file, "hidden", other)
    file[name] = h5py.SoftLink("/hidden")


def virtual_array(file: Any, name: str, other: Path) -> None:
    """An array that is put together from another file."""
    layout = h5py.VirtualLayout(shape=(12, 4), dtype="u1")
    layout[:] = h5py.VirtualSource(str(other / "other.h5"), "X", shape=(12, 4))
    file.create_virtual_dataset(name, layout)


def circle_of_links(file: Any, name: str, other: Path) -> None:
    """Links that lead to each other."""
    file[name] = h5py.SoftLink("/hidden")
    file["hidden"] = h5py.SoftLink(f"/{name}")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with files that are none of the user's data."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "raw").write_bytes(SECRET.tobytes())
    with h5py.File(folder / "other.h5", "w") as file:
        file["X"] = SECRET
    return folder


@pytest.mark.parametrize(
    "reach",
    [
        external_storage,
        external_link,
        soft_link_to_external_link,
        soft_link_through_external_group,
        soft_link_to_external_storage,
        virtual_array,
        circle_of_links,
    ],
)
@pytest.mark.parametrize("name", ["X", "y"])
def test_content_of_other_files_is_refused(
    tmp_path: Path, other: Path, reach: Callable[[Any, str, Path], None], name: str
) -> None:
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        reach(file, name, other)
        if name == "X":
            file["y"] = np.arange(12) % 2
        else:
            file["X"] = np.ones((12, 4))
    with pytest.raises(DataFileError, match=f"d.h5.*'{name}' must be stored in this file"):
        look(path)


def test_arrays_in_groups_and_links_within_the_file_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["parts/X"], file["parts/kind"] = SECRET, ["p", "q"] * 6
        file["X"] = h5py.SoftLink("parts/X")
        file["parts/up"] = h5py.SoftLink("/parts")
    frame = open_data(tmp_path / "d.h5", target="parts/up/kind")
    assert frame.default_target == "parts/up/kind"
    assert contents(frame, ["x3", "parts/up/kind"]) == {
        "x3": SECRET[:, 3].tolist(),
        "parts/up/kind": ["p", "q"] * 6,
    }
