"""Sites of several versions, side by side, as the release publishes them."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def publish(built: Path, published: Path, version: str) -> subprocess.CompletedProcess[str]:
    """The program of the release, run on a site that holds one page."""
    command = [
        sys.executable,
        str(ROOT / ".ci" / "publish_site.py"),
        str(built),
        str(published),
        version,
    ]
    return subprocess.run(
        [*command, "https://example.org/xpnet"], capture_output=True, text=True, timeout=60
    )


def test_the_first_page_leads_to_the_newest_version_and_older_ones_stay(tmp_path: Path) -> None:
    built, published = tmp_path / "built", tmp_path / "published"
    built.mkdir()
    published.mkdir()
    for version in ("0.9.0", "0.10.0", "0.9.1"):
        (built / "index.html").write_text(version)
        assert publish(built, published, version).returncode == 0
    assert [
        (published / version / "index.html").read_text() for version in ("0.9.0", "0.10.0")
    ] == ["0.9.0", "0.10.0"]
    listed = json.loads((published / "versions.json").read_text())
    assert [entry["version"] for entry in listed] == ["0.10.0", "0.9.1", "0.9.0"]
    assert [entry["preferred"] for entry in listed] == [True, False, False]
    assert listed[0]["url"] == "https://example.org/xpnet/0.10.0/"
    assert "0.10.0/" in (published / "index.html").read_text()


def test_a_folder_without_a_site_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    (tmp_path / "0.1.0").mkdir()
    done = publish(tmp_path / "built", tmp_path, "0.1.0")
    assert done.returncode == 1
    assert "make docs" in done.stderr
    assert (tmp_path / "0.1.0").is_dir()
