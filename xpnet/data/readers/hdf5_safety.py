"""Arrays of an HDF5 file that lie in this file alone: a file of unknown origin may name others."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from h5py import Dataset, File, Group

MAX_LINKS = 16
"""Links that are followed to an array; a circle of links has no end."""


def own_dataset(file: "File", name: str) -> "Dataset | None":
    """Return an array of an open HDF5 file; None where there is none of that name.

    HDF5 can read content from any file that the user may read: by an external or a soft link, by
    external storage, and by a virtual array. All of these are refused before they are followed.

    file : of h5py; name : may name groups, as in ``"group/X"``

    Raises ValueError for an array whose content is not stored in the file.
    """
    item = _follow(file, name)
    if item is None or not hasattr(item, "is_virtual"):
        return None
    if item.external:
        raise ValueError(f"array {name!r} must be stored in this file; it is stored in another one")
    if item.is_virtual:
        raise ValueError(f"array {name!r} must be stored in this file; it is a virtual array")
    return item


def _follow(file: "File", name: str) -> "Group | Dataset | None":
    """Return the group or array at a path in an HDF5 file; None if there is none.

    Raises ValueError for a link to another file, and for a circle of links.
    """
    from h5py import h5l

    steps = _steps(name)
    item = file
    links = 0
    while steps:
        step = steps.pop(0)
        if not hasattr(item, "keys") or not item.id.links.exists(step.encode()):
            return None
        kind = item.id.links.get_info(step.encode()).type
        if kind == h5l.TYPE_HARD:
            item = item[step]
        elif kind == h5l.TYPE_SOFT and links < MAX_LINKS:
            links += 1
            path = item.id.links.get_val(step.encode()).decode()
            item = file if path.startswith("/") else item
            steps = _steps(path) + steps
        else:
            raise ValueError(f"{name!r} must be stored in this file; it is a link to elsewhere")
    return item


def _steps(path: str) -> list[str]:
    """Return the names in a path, from the outer to the inner."""
    return [step for step in path.split("/") if step not in ("", ".")]
