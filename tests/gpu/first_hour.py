"""A card's first hour: ``make gpu-first``, or ``python tests/gpu/first_hour.py -o out/gpu-first``.

Part after part, each in a process of its own and under ten minutes, those that say most first.
After ten minutes ``claims.md`` says which sentences of the pages hold on the card; after thirty the
times of xpnet are written, after sixty those of PyTorch and JAX beside them, as a table that is put
into ``bench/results``. What a part says is on disk when it ends, ``report.md`` shows the parts that
have ended, and all of it is packed beside the folder. It needs what ``INSTALL`` names; a part that
lacks a package is left out. ``--wheels FOLDER`` installs what else is there, without an index.
``--seconds`` is what all may take together. A test that was left out is a failure, but for the
reasons in ``EXPECTED_SKIPS``.
``--rehearse`` runs the parts over a stand-in for CuPy where there is no card; its times mean
nothing.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # which an isolated interpreter leaves out
from claims import Seen, claims_table  # noqa: E402

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"
SECONDS, GRACE = 580, 15  # of a part at most, and what it is given to end by itself
ANSWER = 10  # seconds in which a driver tells which cards there are
REPORT = 60  # seconds in which the report of benchmarks is written
MILESTONES = {10: "the claims of the pages are decided", 30: "times are written", 60: "peers, too"}
"""What is known so many minutes after the beginning: the limits of the parts add up to less."""
SHORTEST = 20  # seconds for which a part is still begun
CANNOT_REHEARSE = (
    "not precision and not wait_for and not nodes and not touches and not out_of_memory "
    "and not 8192 and not notebook and not reproduce"
)
DOCTOR = "import sys; from xpnet.cli import main; sys.argv[:] = ['xpnet', 'doctor']; main()"
CUPY = """import sys, xpnet
try:
    print(*map(': '.join, xpnet.get_backend('cupy').describe().items()), sep='\\n')
except xpnet.BackendError as error:
    sys.exit(str(error))"""
BASE = ("cupy", "array_api_compat", "numpy")
TESTS = (*BASE, "pytest", "hypothesis", "safetensors")
COMMAND_LINE = (*BASE, "click", "rich")
BENCH = (*COMMAND_LINE, "psutil", "matplotlib", "jinja2", "threadpoolctl", "pytest_benchmark")
INSTALL = (
    "python3 -m pip install 'cupy-cuda13x[ctk]' array-api-compat numpy scipy scikit-learn pytest "
    "hypothesis safetensors click rich"
)
"""The command that installs what all parts but the benchmarks need, for a driver of CUDA 13."""
EXPECTED_SKIPS = (
    "there is one GPU",
    "PyTorch is not installed",
    "this PyTorch has no CUDA",
    "JAX is not installed",
    "this JAX has no CUDA",
    *(
        f"the command line needs {package}, which is not installed"
        for package in ("click", "rich", "sklearn")
    ),
)
"""Reasons for which a test may be skipped on a machine that has all that xpnet needs."""
TAIL = 25  # lines of a part that the report shows; all of those that are looked at line by line
READING = """Whether all is right: `smallest`, the checkers and the tests are done, and say so. How
fast it is: `times` and `sizes` for what a step takes, `bench/report.html` for xpnet beside PyTorch
and JAX and above what the card needs at the least. A part that is left out says why, one that was
ended by the clock took too long and says how far it came; both can be run later by `--only NAME`.
All that a part said is in `NAME.txt`.
"""
KEPT = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
"""Variables of each part: where a driver ends it, what it has said is kept, and where it was."""


@dataclass(frozen=True)
class Part:
    """One part.

    command : what the interpreter is given, or, where one is named, a program
    needs : packages; required : whether nothing after it makes sense without it
    test : whether to leave it out is a failure
    whole : whether the report shows all that it says, and not the end alone
    kernels_only : whether a checker looks at xpnet's own kernels alone
    milestone : of ``MILESTONES``, by which it has ended; limit : its seconds
    measures : whether it writes benchmarks, which become a table in ``bench/results``
    """

    name: str
    says: str
    command: list[str]
    program: str = ""
    needs: tuple[str, ...] = ()
    required: bool = False
    test: bool = False
    whole: bool = False
    rehearsed: bool = True
    kernels_only: bool = False
    milestone: int = 60
    limit: int = SECONDS
    measures: bool = False


def parts(output: Path, rehearse: bool) -> list[Part]:
    """In the order of their worth: those that come last are the first that time is too short
    for.
    """
    step = str(HERE / "first_step.py")
    pytest = ["-m", "pytest", "-v", "--tb=short", "-m", "gpu", "-p", "no:cacheprovider"]
    selected = ["-k", CANNOT_REHEARSE] if rehearse else []
    tests = [
        Part(
            f"tests-{what}",
            f"The tests of {what}, against float64 on the host.",
            [*pytest, "-rs", str(HERE / f"test_gpu_{what}.py"), *selected],
            needs=TESTS,
            test=True,
        )
        for what in ("operations", "step", "arrays")
    ]
    operations, training, arrays = tests
    small = ["--small"] if rehearse else []
    suite = ["-m", "xpnet_bench", "--suite", "gpu", "-o", str(output / "bench")]
    return [
        Part("card", "The card and its driver.", [], program="nvidia-smi", milestone=10, limit=15),
        Part(
            "cupy",
            "Whether xpnet can use the card, through CuPy.",
            ["-c", CUPY],
            needs=BASE,
            required=True,
            milestone=10,
            limit=45,
        ),
        Part(
            "step",
            "What a step consists of. Expected are 8 and 11 nodes a batch; a product that splits "
            "its sum has one more.",
            [step, "counts", *small],
            needs=BASE,
            whole=True,
            milestone=10,
            limit=60,
        ),
        Part(
            "smallest",
            "Every way to train, over few rows: each must give the same losses.",
            [step, "smallest"],
            needs=BASE,
            milestone=10,
            limit=60,
        ),
        Part(
            "seconds",
            "Assumptions about the card; one that does not hold says what that means.",
            [step, "seconds", *small],
            needs=BASE,
            whole=True,
            milestone=10,
            limit=150,
        ),
        replace(training, milestone=10, limit=120),
        Part(
            "times",
            "What a step takes.",
            [step, "times", *small],
            needs=BASE,
            whole=True,
            milestone=10,
            limit=120,
        ),
        Part(
            "bench",
            "The benchmarks of xpnet alone, above what the card needs at the least.",
            [*suite, "--backend", "cupy", "--peer", "none"],
            needs=BENCH,
            milestone=30,
            measures=True,
        ),
        replace(operations, milestone=30, limit=150),
        replace(arrays, milestone=30, limit=150),
        Part(
            "sizes",
            "What a step takes by the size of batches.",
            [step, "sizes", *small],
            needs=BASE,
            whole=True,
            milestone=30,
            limit=120,
        ),
        Part(
            "doctor",
            "What xpnet sees.",
            ["-c", DOCTOR],
            needs=COMMAND_LINE,
            whole=True,
            milestone=30,
            limit=60,
        ),
        Part(
            "peers",
            "Beside PyTorch, as it is, compiled and captured, and JAX: bench/report.html.",
            suite,
            needs=BENCH,
            rehearsed=False,
            measures=True,
        ),
        _check("memcheck", "Reads and writes out of bounds, and misaligned ones"),
        _check("racecheck", "Threads that use shared memory with no barrier between"),
        _check("synccheck", "Barriers that not all threads come to"),
    ]


def _check(tool: str, finds: str) -> Part:
    """One of NVIDIA's checkers over the smallest cases, and over xpnet's own kernels: those of
    libraries are not ours.

    It fails by itself only where it is told to.
    """
    step = [sys.executable, str(HERE / "first_step.py"), "smallest"]
    return Part(
        tool,
        f"{finds}: there must be none.",
        ["--tool", tool, "--error-exitcode", "1", *step],
        program="compute-sanitizer",
        needs=BASE,
        rehearsed=False,
        kernels_only=True,
        limit=390,
    )


def _kernel_options() -> list[str]:
    """Return the options by which a checker looks at xpnet's kernels alone."""
    from xpnet_cupy.launcher import KERNELS

    return [word for name in KERNELS for word in ("--kernel-name", f"kernel_name={name}")]


def install(wheels: Path, folder: Path) -> None:
    """Puts the wheels that are not installed yet into a folder on the path of all parts."""
    wanted = [
        str(wheel) for wheel in sorted(wheels.glob("*.whl")) if not _has(wheel.name.split("-")[0])
    ]
    if wanted:
        options = ["--quiet", "--no-index", "--no-deps", "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *wanted], check=True)
    sys.path.append(str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*filter(None, [os.environ.get("PYTHONPATH")]), str(folder)]
    )


def _has(distribution: str) -> bool:
    try:
        return bool(importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return False


def card() -> str:
    """What the driver calls the cards; nothing where there is none, or where it does not answer."""
    program = _program("nvidia-smi")
    if program is None:
        return ""
    try:
        process = subprocess.Popen(
            [program, "-L"], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
    except OSError:
        return ""
    try:
        return process.communicate(timeout=ANSWER)[0]
    except subprocess.TimeoutExpired:
        _end(process, ANSWER)
        assert process.stdout is not None
        process.stdout.close()
        return ""


def main() -> int:
    """Run all parts, or those that are named, whose results take the place of earlier ones; 1 where
    one failed.
    """
    options = _options()
    output, end = options.output.resolve(), time.monotonic() + options.seconds
    output.mkdir(parents=True, exist_ok=True)
    if options.wheels is not None:
        install(options.wheels, output.parent / "packages")
    every, path, of_card = parts(output, options.rehearse), output / "parts.json", card()
    ended = _earlier(path, of_card) if options.only else {}
    failed, stopped = False, ""
    for part in every:
        if options.only and part.name not in options.only:
            continue
        sys.stdout.write(f"{part.name}: {part.says}\n")
        sys.stdout.flush()
        ended[part.name], said = (
            (f"left out: {stopped} failed, without which nothing runs", "")
            if stopped
            else run(part, output, options.rehearse, end - time.monotonic(), options.lose)
        )
        _write(path, json.dumps({"card": of_card, "parts": ended}, indent=1))
        write_report(
            output, [(p, ended[p.name]) for p in every if p.name in ended], options.rehearse
        )
        _write_claims(output, ended)
        if part.measures and not options.rehearse:
            _keep_benchmarks(output / "bench", RESULTS / _folder_of(of_card))
        sys.stdout.write(f"  {ended[part.name]}\n")
        missing, broken = (ended[part.name].startswith(word) for word in ("left out", "failed"))
        failed |= broken or (missing and (part.test or part.required))
        if part.required and missing:
            sys.stdout.write(f"  Install what is missing: {INSTALL}\n")
        elif part.required and broken:
            sys.stdout.write(f"{said}Nothing further can be run.\n")
            stopped = part.name
    sys.stdout.write(f"The report is {output / 'report.md'}; all is in {pack(output)}.\n")
    return int(failed)


def _options() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("out/gpu-first"))
    parser.add_argument("--only", nargs="*", default=[], help="names of parts")
    parser.add_argument("--rehearse", action="store_true", help="over a stand-in for CuPy")
    parser.add_argument(
        "--lose",
        nargs="*",
        default=[],
        metavar="NAME:CALLS",
        help="in a rehearsal, parts whose card fails after so many calls of a process",
    )
    parser.add_argument("--seconds", type=float, default=3600, help="for all parts together")
    parser.add_argument(
        "--wheels", type=Path, help="a folder of wheels to install from, without an index"
    )
    return parser.parse_args()


def _write(path: Path, text: str) -> None:
    """Write a file under another name and rename it, so that it is whole at any time."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _read(path: Path) -> str:
    """What a part said; a driver that ends it may have written anything."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _write_claims(output: Path, ended: dict[str, str]) -> None:
    """claims.md: which sentences of the pages hold, by the parts, checks and tests so far."""
    said = {
        name: _read(output / f"{name}.txt")
        for name, how in ended.items()
        if not how.startswith("left out")
    }
    told = re.findall(r"^ +check (\d+) (ok|DIFFERS)", said.get("seconds", ""), flags=re.MULTILINE)
    checks = {int(number): word == "ok" for number, word in told}
    tests: dict[str, str] = {}
    for name, text in said.items():
        if name.startswith("tests-"):
            for test, how in re.findall(r"::(\w+)\S* (PASSED|FAILED|SKIPPED)\b", text):
                tests[test] = "FAILED" if tests.get(test) == "FAILED" else how
    _write(output / "claims.md", claims_table(Seen(ended, checks, tests)))


def _folder_of(cards: str) -> str:
    """The name of the first card, as a folder has it."""
    name = cards.partition("(")[0].partition(":")[2].lower()
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-") or "gpu"


def _keep_benchmarks(measured: Path, folder: Path) -> None:
    """Copy a report and its numbers to the folder of the card among the results. A run that was
    killed has written its numbers, and no report of them.
    """
    numbers, report = measured / "results.json", measured / "report.md"
    if numbers.exists() and (
        not report.exists() or report.stat().st_mtime < numbers.stat().st_mtime
    ):
        command = [sys.executable, "-m", "xpnet_bench", "report", str(numbers), "-o", str(measured)]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, check=False, cwd=ROOT, timeout=REPORT)
    for file in ("report.md", "results.json"):
        if (measured / file).exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(measured / file, folder / file)


def _earlier(path: Path, of_card: str) -> dict[str, str]:
    """How parts ended before on this card; nothing of another's."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found["parts"] if found.get("card") == of_card else {}


def pack(output: Path) -> Path:
    """All that there is as one file, the report first."""
    packed = output.with_name(f"{output.name}.tar.gz")
    with tarfile.open(packed, "w:gz") as file:
        for path in sorted(
            output.iterdir(), key=lambda path: (path.name != "report.md", path.name)
        ):
            file.add(path, f"{output.name}/{path.name}")
    return packed


def run(
    part: Part, output: Path, rehearse: bool, left: float = SECONDS, lose: Sequence[str] = ()
) -> tuple[str, str]:
    """How it ended and what it said, which is in NAME.txt from its first line on; left : seconds
    that there are; lose : see the option
    """
    if reason := _reason_to_leave_out(part, rehearse, left):
        return f"left out: {reason}", ""
    command, environment = _command(part, rehearse)
    if part.program == "compute-sanitizer":  # what is compiled under a checker is not kept
        environment["CUPY_CACHE_DIR"] = str(output / "checked")
    calls = dict(one.split(":") for one in lose)
    if part.name in calls:
        environment["CUPY_ON_HOST_CALLS"] = calls[part.name]
    path, started = output / f"{part.name}.txt", time.monotonic()
    # Fibers are slower than a card.
    limit = min(SECONDS if rehearse else part.limit, SECONDS, max(left, 1))
    try:
        code = _run_to_file(command, environment, path, limit)
    except OSError as error:
        return f"failed: {error}", ""
    took = f"after {time.monotonic() - started:.0f} s"
    said = _read(path)
    ended = (
        "ended by the clock"
        if code is None
        else "done"
        if code == 0
        else f"failed with exit code {code}"
    )
    counts = said.rstrip().rpartition("\n")[2].strip("= ") if "pytest" in part.command else ""
    if code == 0 and not rehearse and _unexpected_skips(said, counts):
        ended = "failed, since tests were left out,"
    if code == 0 and part.measures and _measured_without_xpnet(output / "bench"):
        ended = "failed, since xpnet was not measured in each job,"
    return f"{ended} {took}{counts and ': '}{counts}", said


def _reason_to_leave_out(part: Part, rehearse: bool, left: float) -> str:
    """Why a part is not begun; nothing where it is."""
    if rehearse and not part.rehearsed:
        return "it needs a card"
    if part.program and _program(part.program) is None:
        return f"{part.program} is not installed"
    present = ("cupy",) if rehearse else ()
    missing = [
        name
        for name in part.needs
        if name not in present and importlib.util.find_spec(name) is None
    ]
    if missing:
        return f"{', '.join(missing)} not installed"
    return "no time was left" if left < SHORTEST and part.name != "card" else ""


def _run_to_file(
    command: list[str], environment: dict[str, str], path: Path, limit: float
) -> int | None:
    """Run a command whose output goes to a file; its exit code, or None where its time is over."""
    with path.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            _end(process, GRACE)
            return None


def _measured_without_xpnet(folder: Path) -> bool:
    """Whether the last run of benchmarks has a job that xpnet could not do: the run goes on without
    a library that fails, and ends with 0.
    """
    path = folder / "results.json"
    runs = json.loads(_read(path))["xpnet_bench"]["runs"] if path.exists() else []
    return any(one["contender"] == "xpnet-cupy" for run in runs[-1:] for one in run["skipped"])


def _unexpected_skips(said: str, counts: str) -> int:
    """Return how many of pytest's skipped tests have no reason that is expected, by its option
    ``-rs``.
    """
    skipped = re.search(r"(\d+) skipped", counts)
    listed = re.findall(r"^SKIPPED \[(\d+)\] .*?: (.+)$", said, flags=re.MULTILINE)
    expected = sum(int(count) for count, reason in listed if reason in EXPECTED_SKIPS)
    return int(skipped[1]) - expected if skipped else 0


def _program(name: str) -> str | None:
    """Where a program is: on the path, or in the folder of CUDA's own."""
    folders = [os.environ.get(variable) for variable in ("CUDA_PATH", "CUDA_HOME")]
    places = [f"{folder}/bin" for folder in (*folders, "/usr/local/cuda") if folder]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))


def _end(process: subprocess.Popen[Any], grace: float) -> None:
    """As by Ctrl-C, so that tests tell what has failed so far; then with all that the part has
    started. One that waits inside of a broken driver does not end at all, and is left alone.
    """
    with suppress(subprocess.TimeoutExpired, ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        process.wait(grace)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace)


def _command(part: Part, rehearse: bool) -> tuple[list[str], dict[str, str]]:
    environment = os.environ | KEPT
    if part.program:
        options = _kernel_options() if part.kernels_only else []
        return [_program(part.program) or part.program, *options, *part.command], environment
    if not rehearse:
        return [sys.executable, *part.command], environment
    paths = [str(ROOT / "tests"), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    if "pytest" in part.command:
        return [sys.executable, *part.command, "-p", "helpers.cuda.cupy_on_host"], environment
    if "xpnet_bench" in part.command:
        options = part.command[part.command.index("xpnet_bench") + 1 :]
        return [sys.executable, "-m", "helpers.cuda.small_bench", *options, "--quick"], environment
    return [sys.executable, "-m", "helpers.cuda.cupy_on_host", *part.command], environment


def write_report(output: Path, results: list[tuple[Part, str]], rehearse: bool) -> None:
    """report.md: how each part ended, then what each said last."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [
        "# A card's first hour",
        "",
        f"{now}{'; a rehearsal over a stand-in, no card' if rehearse else ''}",
        "",
    ]
    lines += [READING]
    lines += ["| part | what it shows | how it ended |", "| --- | --- | --- |"]
    lines += [
        f"| [{part.name}]({part.name}.txt) | {part.says} | {status} |" for part, status in results
    ]
    for part, status in results:
        if not status.startswith("left out"):
            said = _read(output / f"{part.name}.txt")
            shown = said.splitlines()[0 if part.whole else -TAIL :]
            lines += ["", f"## {part.name}", "", part.says, "", "```", *shown, "```"]
    _write(output / "report.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
