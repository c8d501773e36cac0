"""Nested dicts that hold arrays: a file keeps the arrays by their path, and the rest as JSON."""

from typing import Any

import numpy

Tree = dict[str, Any]


def take_apart(tree: Tree) -> tuple[Tree, dict[str, numpy.ndarray]]:
    """The tree without its arrays, and the arrays by path (``step/params/W1``).

    Raises ValueError for a key with a slash in it.
    """
    rest: Tree = {}
    arrays: dict[str, numpy.ndarray] = {}
    for key, value in tree.items():
        if not isinstance(key, str) or "/" in key:
            raise ValueError(f"names in a checkpoint are strings without a slash; received {key!r}")
        if isinstance(value, numpy.ndarray):
            arrays[key] = value
        elif isinstance(value, dict):
            rest[key], below = take_apart(value)
            arrays |= {f"{key}/{name}": array for name, array in below.items()}
        else:
            rest[key] = value
    return rest, arrays


def put_together(rest: Any, arrays: dict[str, numpy.ndarray]) -> Tree:
    """The tree again; ``rest`` is filled in place.

    Raises ValueError for a path that is not in the tree.
    """
    for path, array in arrays.items():
        *folders, name = path.split("/")
        place: Any = rest
        for folder in folders:
            place = place.get(folder) if isinstance(place, dict) else None
        if not isinstance(place, dict) or name in place:
            raise ValueError(f"tensor {path!r} has no place in its description")
        place[name] = array
    return rest
