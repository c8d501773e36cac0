"""CONTRIBUTING's backend, built from its very text: listed, and trained with, in a process with it on its path."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The one block of code in that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    return found


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that holds the package as an installer would have left it."""
    project = tomllib.loads(block("toml"))["project"]
    (tmp_path / "xpnet_scipy.py").write_text(block("python"))
    metadata = tmp_path / f"xpnet_scipy-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in names.items())
        for group, names in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def xpnet(site: Path, *arguments: str) -> str:
    """The output of the command line in a process that sees the package."""
    command = [sys.executable, "-c", "from xpnet.cli import main; main()", *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_is_short() -> None:
    assert len(block("python").splitlines()) <= 22


def test_it_is_listed(site: Path) -> None:
    found = {backend["name"]: backend for backend in json.loads(xpnet(site, "backends", "--json"))}
    assert found["scipy"]["usable"]
    assert "scipy" in found["scipy"]["facts"]


def test_it_trains(site: Path) -> None:
    shown = xpnet(
        site,
        "train",
        "iris",
        "--backend",
        "scipy",
        "--hidden",
        "8",
        "--lr",
        "0.01",
        "--epochs",
        "30",
        "--metrics-json",
        str(site / "m.json"),
    )
    metrics = json.loads((site / "m.json").read_text(encoding="utf-8"))
    assert "backend scipy" in shown
    assert metrics["history"]["loss"][-1] < 0.5 * metrics["history"]["loss"][0]


def test_its_kernel_has_the_reference_signature(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import inspect

    from xpnet import ops

    monkeypatch.syspath_prepend(site)
    from xpnet_scipy import backend  # type: ignore[import-not-found]

    for name, kernel in backend.kernels.items():
        assert list(inspect.signature(kernel.launch).parameters) == list(
            inspect.signature(getattr(ops, name)).parameters
        )
