"""Damage to the files of compiled code, and upgrades over them: never a wrong number, never an
error.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FIT = """
import numpy as np
import xpnet

X = np.random.default_rng(0).normal(size=(300, 6))
model = xpnet.FeedforwardNeuralNet(6, (8,), 3, 1e-2, backend="numba", rng=0)
model.fit(X, np.arange(300) % 3, epochs=3, batch_size=50, rng=1)
print(model.history.loss, model.predict(X[:2]).tolist())
"""

OPERATIONS = """
import numpy as np
import xpnet_numba

print(xpnet_numba.__file__)
for name, x in [("relu", 1.0), ("logistic", 0.0)]:
    print(*np.unique(xpnet_numba.backend.kernels[name].launch(np.full((100, 1000), x))))
"""

FORMULAS = {
    "loops/activations.py": (
        "select(x <= zero, zero, x)\n",
        "select(x <= zero, zero, type(x)({factor}) * x)\n",
    ),
    "scalars.py": ("else number(1)) / (number(1) + e)", "else number({factor})) / (number(1) + e)"),
}
"""By file of the Numba backend: a formula, and one that gives so many times as much."""


def damaged(whole: bytes, kind: str, chance: random.Random) -> bytes:
    """An entry of the cache after an accident."""
    place = chance.randrange(len(whole))
    match kind:
        case "empty":
            return b""
        case "cut short":
            return whole[:place]
        case "half written":
            return whole[:place] + bytes(len(whole) - place)
        case "a bit flipped":
            return (
                whole[:place]
                + bytes([whole[place] ^ 1 << chance.randrange(8)])
                + whole[place + 1 :]
            )
        case "a page of another file":
            page = place // 4096 * 4096
            return whole[:page] + chance.randbytes(4096) + whole[page + 4096 :]
    raise ValueError(kind)


ACCIDENTS = ["empty", "cut short", "half written", "a bit flipped", "a page of another file"]
MISHAPS = [
    *ACCIDENTS,
    "another entry's",
    "a folder in its place",
    "a link that leads nowhere",
    "not to be read",
]


def harm(entry: Path, others: list[Path], kind: str, chance: random.Random) -> None:
    """Bring an entry of the cache into a bad state."""
    if kind in ACCIDENTS:
        entry.write_bytes(damaged(entry.read_bytes(), kind, chance))
    elif kind == "another entry's":
        entry.write_bytes(
            chance.choice([other for other in others if other.name != entry.name]).read_bytes()
        )
    elif kind == "not to be read":
        entry.chmod(0)
    else:
        entry.unlink()
        if kind == "a folder in its place":
            entry.mkdir()
        else:
            entry.symlink_to("nowhere")


def printed(python: list[str | Path], program: str, cache: Path) -> str:
    """What a program prints that keeps its code in a folder."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [*python, "-c", program], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_damaged_entries_harm_no_fit(
    tmp_path: Path, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    whole, chance, rounds = tmp_path / "whole", random.Random(0), times(1, 6)
    program = OPERATIONS if rounds == 1 else FIT
    expected, count = printed([sys.executable], program, whole), 0
    for turn in range(rounds):
        cache = tmp_path / str(turn)
        shutil.copytree(whole, cache)
        entries = sorted(cache.rglob("*.code"))
        mishaps = chance.sample(MISHAPS, min(len(MISHAPS), len(entries)))
        for entry, kind in zip(chance.sample(entries, len(mishaps)), mishaps, strict=True):
            harm(entry, sorted(whole.rglob("*.code")), kind, chance)
        assert printed([sys.executable], program, cache) == expected
        count += len(mishaps)
    tally("damaged files of compiled code, 0 fits harmed", count)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The interpreter of an environment with everything that xpnet needs, and without xpnet."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def changed_wheel(sources: Path, version: int) -> Path:
    """A wheel of a later version, in which two formulas give ``version`` times as much as they
    should.
    """
    shutil.rmtree(sources, ignore_errors=True)
    for folder in ("xpnet", "backends", "bench/xpnet_bench"):
        shutil.copytree(
            ROOT / folder, sources / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    shutil.copy(ROOT / "pyproject.toml", sources)
    package = sources / "xpnet" / "__init__.py"
    later = f'__version__ = "99.{version}"'
    package.write_text(
        re.sub('^__version__ = ".+"$', later, package.read_text(), flags=re.MULTILINE)
    )
    for name, (formula, changed) in FORMULAS.items():
        path = sources / "backends" / "xpnet_numba" / name
        before = path.read_text()
        path.write_text(before.replace(formula, changed.format(factor=version)))
        assert path.read_text() != before
    command = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        str(sources / "dist"),
    ]
    subprocess.run(command, cwd=sources, check=True, capture_output=True)
    (wheel,) = (sources / "dist").glob("*.whl")
    return wheel


@pytest.mark.skipif(os.name == "nt", reason="Windows lays an environment out in another way")
def test_an_upgrade_runs_new_code(
    environment: Path,
    tmp_path: Path,
    times: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    upgrades = times(1, 20)
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        environment,
        "install",
        "--no-deps",
        "--no-index",
        "--upgrade",
    ]
    for version in range(2, upgrades + 3):
        subprocess.run(
            [*install, changed_wheel(tmp_path / "sources", version)],
            check=True,
            capture_output=True,
        )
        where, *numbers = printed([environment, "-I"], OPERATIONS, tmp_path / "cache").splitlines()
        assert Path(where).is_relative_to(environment.parents[1])
        assert list(map(float, numbers)) == [version, version / 2]
    tally("upgrades to a wheel with other formulas, all run new code", upgrades)
