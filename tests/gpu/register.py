"""A clone that cannot be installed, since a machine with a GPU may reach no package index, made to
work as if it were.

``python tests/gpu/register.py build/gpu`` writes the metadata that an installation would write,
from pyproject.toml, and takes array-api-compat from scikit-learn, which carries a copy, where it is
not installed. With that folder on PYTHONPATH beside ``.``, ``backends`` and ``bench``, backends are
found.
"""

import re
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]


def register(folder: Path) -> None:
    """Writes ``folder/xpnet-VERSION.dist-info``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    source = (ROOT / "xpnet" / "__init__.py").read_text()
    version = re.search('^__version__ = "(.+)"$', source, flags=re.MULTILINE)[1]
    info = folder / f"{project['name']}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    )
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    sections = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items())
        for group, entries in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(sections))


def borrow(folder: Path) -> None:
    """Puts scikit-learn's copy of array-api-compat into ``folder``, if there is no other."""
    if find_spec("array_api_compat") is not None or find_spec("sklearn") is None:
        return
    found = find_spec("sklearn.externals")
    if found is not None and found.origin is not None:
        source = Path(found.origin).parent / "array_api_compat"
        shutil.copytree(source, folder / "array_api_compat", dirs_exist_ok=True)


if __name__ == "__main__":
    register(Path(sys.argv[1]))
    borrow(Path(sys.argv[1]))
