"""Recipes of docs/contributing: their blocks of code, and their changes applied to a tree.

A block of the language ``diff`` names files in lines ``+++ path``. The lines below it are in the
file (a space first), or are added (``+``) or removed (``-``); ``@@`` separates places of one file.
Unlike a patch it has no line numbers: the first place that has these lines is changed.
"""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "contributing"


def blocks(page: str, language: str) -> list[str]:
    """Return the page's blocks of code in a language, in order."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def apply_changes(page: str, tree: Path) -> list[str]:
    """Apply all blocks of changes of a page to a tree, and return the files that were changed.

    Raises LookupError for lines that a file does not have.
    """
    files: list[str] = []
    for block in blocks(page, "diff"):
        for part in re.split(r"^\+\+\+ ", block, flags=re.MULTILINE)[1:]:
            file, _, changes = part.partition("\n")
            files.append(file)
            for hunk in re.split(r"^@@\n", changes, flags=re.MULTILINE):
                apply_hunk(tree / file, hunk.splitlines())
    return files


def apply_hunk(path: Path, hunk: list[str]) -> None:
    """Replace the first place in a file that has the hunk's old lines by its new lines."""
    old = [line[1:] for line in hunk if line[:1] in (" ", "-", "")]
    new = [line[1:] for line in hunk if line[:1] in (" ", "+", "")]
    lines = path.read_text(encoding="utf-8").split("\n")
    for start in range(len(lines) - len(old) + 1):
        if lines[start : start + len(old)] == old:
            lines[start : start + len(old)] = new
            path.write_text("\n".join(lines), encoding="utf-8")
            return
    raise LookupError(f"{path.name} has no such lines: {old}; update the recipe.")
