"""Hashes of the bits of short trainings, by kind of processor, in tests/snapshots.

``PYTHONPATH=tests python -m helpers.snapshots`` (``make snapshots``) writes the record of this
machine's kind of processor. Where hashes differ from those on record, ``--change`` must be a text
that stands in CHANGELOG.md: a change of bits is announced to users.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import sys
import warnings
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy
from llvmlite import binding
from numba import config
from threadpoolctl import threadpool_info, threadpool_limits

import xpnet
from helpers.snapshot_cases import Bits, Case, cases
from xpnet.backend.threads import allowed_threads, sharing_the_machine

# As in tests/conftest.py: what torch.compile makes has other bits.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "snapshots"

PACKAGES = ("llvmlite", "numba", "numpy", "scikit-learn", "scipy")
"""Packages that every case computes with."""

OPTIONAL_PACKAGES = ("jax", "jaxlib", "torch")
"""Packages that a case names if it computes with them."""

CORES = 2
"""Number of cores among which the work of a training is divided; the bits depend on it."""

THREADS = (1, 2)
"""Numbers of threads that must give the same bits."""

Hashes = dict[str, dict[str, str]]
"""By the name of a case, the hash of its fit and that of its predictions."""


@dataclass(frozen=True)
class Record:
    """The hashes of one kind of processor.

    blas : version and kind of processor of each BLAS that is loaded
    libc : the C library, which computes some functions of NumPy
    packages : version of each package that computes
    change : text in CHANGELOG.md about the last change of bits
    """

    processor: str
    blas: list[str]
    libc: str
    packages: dict[str, str]
    change: str
    hashes: Hashes


def processor() -> str:
    """Return the kind of processor that code is compiled for, as system, machine and name."""
    name = config.CPU_NAME or binding.get_host_cpu_name()
    return "-".join([platform.system(), platform.machine(), name]).lower()


def record_path() -> Path:
    """Return the file of this kind of processor."""
    return FOLDER / f"{re.sub(r'[^a-z0-9_-]', '_', processor())}.json"


def read_record() -> Record | None:
    """Return the record of this kind of processor, if there is one."""
    path = record_path()
    return Record(**json.loads(path.read_text("utf-8"))) if path.exists() else None


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    installed = {}
    for name in names:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def blas() -> list[str]:
    """Return version and kind of processor of each BLAS that NumPy and SciPy have loaded."""
    libraries = [info for info in threadpool_info() if info["user_api"] == "blas"]
    facts = ("internal_api", "version", "architecture")
    ours = [info for info in libraries if re.search(r"numpy|scipy", info["filepath"])]
    return sorted({" ".join(str(info.get(fact)) for fact in facts) for info in ours})


def differences(record: Record, case: Case | None = None) -> list[str]:
    """Return what computes here in another version than on record, for every case or for one."""
    here = versions(PACKAGES + OPTIONAL_PACKAGES)
    names = PACKAGES + (case.packages if case else ())
    pairs = [(name, record.packages.get(name), here.get(name)) for name in names]
    pairs.append(("BLAS", ", ".join(record.blas), ", ".join(blas())))
    pairs.append(("libc", record.libc, libc()))
    return [f"{name} {now}, not {before}" for name, before, now in pairs if before != now]


def libc() -> str:
    """Return name and version of the C library."""
    return " ".join(platform.libc_ver()).strip()


def hashes_of(case: Case, threads: int) -> dict[str, str]:
    """Return the hashes of a case that is computed with so many threads."""
    xpnet.set_threads(threads)
    try:
        with warnings.catch_warnings(), threadpool_limits(threads), sharing_the_machine(CORES):
            warnings.simplefilter("ignore")  # no training is made to its end
            return hash_arrays(case.run())
    finally:
        xpnet.set_threads(None)


def hash_arrays(bits: Bits) -> dict[str, str]:
    """Return the hash of each group of arrays, over their dtypes, shapes and bits."""
    return {kind: _hash(arrays) for kind, arrays in bits.items()}


def _hash(arrays: Any) -> str:
    total = hashlib.sha256()
    for array in map(numpy.asarray, arrays):
        total.update(f"{array.dtype.str} {array.shape}".encode())
        total.update(numpy.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def computed_hashes() -> Hashes:
    """Return the hashes of all cases whose packages are installed.

    Raises SystemExit for a case whose bits differ between two runs, or, against the documentation,
    between two numbers of threads; and on a machine with too few cores.
    """
    if allowed_threads() < CORES:
        sys.exit(f"The machine must have {CORES} cores; got {allowed_threads()}.")
    installed = versions(OPTIONAL_PACKAGES)
    hashes = {}
    for case in cases():
        if all(name in installed for name in case.packages):
            others = THREADS[-1:] if case.depends_on_threads else THREADS
            runs = [hashes_of(case, threads) for threads in (THREADS[-1], *others)]
            if any(run != runs[0] for run in runs):
                sys.exit(f"{case.name}: the bits of two runs differ: {runs}")
            hashes[case.name] = runs[0]
    return hashes


def changed_cases(record: Record, hashes: Hashes) -> list[str]:
    """Return the cases whose bits are others than on record, in the same versions of packages."""
    by_name = {case.name: case for case in cases()}
    return [
        name
        for name in record.hashes
        if name in hashes
        and hashes[name] != record.hashes[name]
        and not differences(record, by_name[name])
    ]


def main() -> None:
    """Write the record of this machine's kind of processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--change", default="", help="text in CHANGELOG.md about changed bits")
    change = parser.parse_args().change
    record, hashes = read_record(), computed_hashes()
    changed = changed_cases(record, hashes) if record else []
    announcements = [ROOT / "CHANGELOG.md", *sorted((ROOT / "changes").glob("*.md"))]
    if changed and (not change or not any(change in _joined(path) for path in announcements)):
        sys.exit(
            f"CHANGE must be a text of CHANGELOG.md or of a file of changes/, since the bits of "
            f"{len(changed)} cases differ from those on record; got {change!r}. "
            f"They are: {', '.join(changed)}"
        )
    new = Record(
        processor(),
        blas(),
        libc(),
        versions(PACKAGES + OPTIONAL_PACKAGES),
        change or (record.change if record else ""),
        hashes,
    )
    record_path().write_text(json.dumps(asdict(new), indent=1) + "\n", encoding="utf-8")
    print(f"{record_path().relative_to(ROOT)}: {len(hashes)} cases, {len(changed)} changed")


def _joined(path: Path) -> str:
    return " ".join(path.read_text("utf-8").split())


if __name__ == "__main__":
    main()
