"""Entry points for a clone that cannot be installed: a machine with a GPU may reach no package index.

``python tests/gpu/register.py build/gpu`` writes the metadata that an installation would write, from pyproject.toml; with
that folder on PYTHONPATH beside ``.``, ``backends`` and ``bench``, backends are found as if xpnet were installed.
"""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def register(folder: Path) -> None:
    """Writes ``folder/xpnet-VERSION.dist-info``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    sections = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(sections))


if __name__ == "__main__":
    register(Path(sys.argv[1]))
