"""Put the site of one version beside those of the others: `python .ci/publish_site.py BUILT
PUBLISHED VERSION ADDRESS`.

BUILT is docs/_build/html, PUBLISHED the folder that the host shows, ADDRESS its address. It holds a
folder for each version, `versions.json`, from which every page fills its list of versions, and a
first page that leads to the newest.
"""

import json
import re
import shutil
import sys
from pathlib import Path

FIRST_PAGE = '<!doctype html><title>xpnet</title><meta http-equiv="refresh" content="0; url={}/">\n'
VERSION = re.compile(r"\d+(\.\d+)+")


def newest_first(published: Path) -> list[str]:
    """The released versions that have folders."""
    versions = [folder.name for folder in published.iterdir() if VERSION.fullmatch(folder.name)]
    return sorted(
        versions, key=lambda version: [int(part) for part in version.split(".")], reverse=True
    )


def publish(built: Path, published: Path, version: str, address: str) -> None:
    """Replace the folder of that version and write anew what leads to the versions."""
    if not VERSION.fullmatch(version):
        raise SystemExit(
            f"A site is published under the number of a release, such as 0.1.0, not {version!r}."
        )
    if not (built / "index.html").is_file():
        raise SystemExit(f"{built} holds no site: run `make docs` first.")
    shutil.rmtree(published / version, ignore_errors=True)
    shutil.copytree(built, published / version)
    # GitHub's pages would leave out folders such as _static.
    (published / ".nojekyll").touch()
    versions = newest_first(published)
    listed = [
        {"version": one, "url": f"{address}/{one}/", "preferred": one == versions[0]}
        for one in versions
    ]
    (published / "versions.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    (published / "index.html").write_text(FIRST_PAGE.format(versions[0]), encoding="utf-8")


if __name__ == "__main__":
    publish(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4].rstrip("/"))
