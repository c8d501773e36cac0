"""The command for a new card, rehearsed: parts end on their own, and what they say is kept."""

import json
import os
import re
import runpy
import subprocess
import sys
import tarfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers.cuda.rig import needs_compiler
from helpers.programs import module_command, with_helpers

GPU = Path(__file__).parents[2] / "gpu"

LONG = """
import subprocess, sys, time
program = "import signal, time; signal.signal(2, lambda *_: 0); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", program])
print(child.pid, flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("what was found so far")
"""


@pytest.fixture
def first_hour(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GPU))
    import first_hour

    return first_hour


@pytest.fixture
def run_command(
    first_hour: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Runs the command with other parts: ``run_command(parts, *options)`` gives its exit code."""

    def run(parts: list[Any], *options: str, folder: str = "out") -> int:
        monkeypatch.setattr(first_hour, "parts", lambda output, rehearse: parts)
        monkeypatch.setattr(sys, "argv", ["first_hour.py", "-o", str(tmp_path / folder), *options])
        return first_hour.main()

    return run


def test_each_part_is_reported_as_it_ended(
    first_hour: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_hour, "SECONDS", 2)
    codes = {"good": "print('fine')", "bad": "print('oh', flush=True); 1 / 0", "long": LONG}
    parts = [first_hour.Part(name, f"It is {name}.", ["-c", code]) for name, code in codes.items()]
    parts.append(first_hour.Part("none", "A tool.", [], program="no-such-tool"))
    results = [(part, first_hour.run(part, tmp_path, False)[0]) for part in parts]
    first_hour.write_report(tmp_path, results, False)
    started = (
        Path("/proc") / (tmp_path / "long.txt").read_text(encoding="utf-8").split()[0] / "stat"
    )
    assert ends(started)  # what a part has started ends with it
    ended = [status.split(" after")[0] for _, status in results]
    assert ended == [
        "done",
        "failed with exit code 1",
        "ended by the clock",
        "left out: no-such-tool is not installed",
    ]
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## good\n\nIt is good.\n\n```\nfine\n```" in report and "ZeroDivisionError" in report
    assert "what was found so far" in report
    assert (tmp_path / "bad.txt").read_text(encoding="utf-8").startswith("oh\n")


def ends(stat: Path) -> bool:
    """Whether a process that has been killed is gone, or waits for its parent to notice."""
    for _ in range(1000):
        try:
            if " Z " in stat.read_text():
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_all_is_on_disk_when_a_part_ends(first_hour: Any, tmp_path: Path, run_command: Any) -> None:
    output = tmp_path / "out"
    look = f"print('first' in open({str(output / 'report.md')!r}).read())"
    parts = [
        first_hour.Part("first", "", ["-c", "print('seen')"]),
        first_hour.Part("second", "", ["-c", look]),
    ]
    assert run_command(parts) == 0
    assert (output / "second.txt").read_text(encoding="utf-8") == "True\n"
    parts[1] = first_hour.Part("second", "", ["-c", "print('again')"])
    assert run_command(parts, "--only", "second") == 0
    report = (output / "report.md").read_text(encoding="utf-8")
    assert (
        "## first\n" in report and "again" in report and "True" not in report
    )  # one part's place is taken
    assert first_hour.SECONDS + first_hour.GRACE < 600


def test_without_a_card_it_says_why_and_ends(
    first_hour: Any, tmp_path: Path, run_command: Any
) -> None:
    code = first_hour.CUPY.replace("'cupy'", "'cupi'")
    parts = [
        first_hour.Part("cupy", "", ["-c", code], required=True),
        first_hour.Part("next", "", ["-c", ""]),
    ]
    assert run_command(parts) == 1 and not (tmp_path / "out" / "next.txt").exists()
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "got 'cupi'" in report and "Traceback" not in report


def test_what_a_checker_finds_is_a_failure(
    first_hour: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVIDIA's checkers end as the program does, unless they are told which code to end with."""
    program = tmp_path / "compute-sanitizer"
    program.write_text(
        '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = --error-exitcode ] && exit $2; shift; done\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(first_hour, "BASE", ())
    checks = [
        part for part in first_hour.parts(tmp_path, False) if part.program == "compute-sanitizer"
    ]
    assert [part.name for part in checks] == ["memcheck", "racecheck", "synccheck"]
    ended = {first_hour.run(part, tmp_path, False)[0].split(" after")[0] for part in checks}
    assert ended == {"failed with exit code 1"}


BREAKS = {
    "the driver ends the process": (
        ["-c", "import os; print('found so far'); os._exit(9)"],
        "failed with exit code 9",
    ),
    "the driver writes what is no text": (
        ["-c", r"import sys; print('found so far'); sys.stdout.buffer.write(b'\xff'); 1 / 0"],
        "failed with exit code 1",
    ),
    "the process cannot be started": ([], "failed: [Errno 8] Exec format error"),
}
"""How a part may fail: its command, none for a program that is no program, and how it ends."""


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_part_that_breaks_keeps_what_it_said_and_ends_no_other(
    first_hour: Any, tmp_path: Path, run_command: Any, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    command, ending = BREAKS[breaks]
    (tmp_path / "broken").write_bytes(b"\x7fELF")
    (tmp_path / "broken").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    parts = [
        first_hour.Part("first", "", command, program="" if command else "broken"),
        first_hour.Part("second", "", ["-c", "print('second')"]),
    ]
    assert run_command(parts) == 1
    output = tmp_path / "out"
    ended = json.loads((output / "parts.json").read_text(encoding="utf-8"))["parts"]
    assert ended["first"].startswith(ending) and ended["second"].startswith("done")
    assert (output / "first.txt").read_bytes().startswith(b"found so far" if command else b"")
    assert "## second\n" in (output / "report.md").read_text(encoding="utf-8")


def test_a_driver_that_does_not_answer_is_not_waited_for(
    first_hour: Any, tmp_path: Path, run_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = tmp_path / "nvidia-smi"
    hangs.write_text("#!/bin/sh\nexec sleep 600\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(first_hour, "ANSWER", 0.2)
    assert run_command([first_hour.Part("first", "", ["-c", ""])]) == 0
    kept = json.loads((tmp_path / "out" / "parts.json").read_text(encoding="utf-8"))
    assert kept["card"] == "" and kept["parts"]["first"].startswith("done")


def test_a_part_that_lacks_a_package_is_left_out(first_hour: Any, tmp_path: Path) -> None:
    part = first_hour.Part("a", "", ["-c", ""], needs=("numpy", "no_such_package"))
    assert first_hour.run(part, tmp_path, False) == ("left out: no_such_package not installed", "")


@pytest.mark.attack
@needs_compiler
def test_the_rehearsal_counts_launches_and_sees_the_card(tmp_path: Path) -> None:
    pytest.importorskip("click", reason="the command line needs click, which is not installed")
    command = [
        sys.executable,
        str(GPU / "first_hour.py"),
        "--rehearse",
        "-o",
        str(tmp_path),
        "--only",
    ]
    parts = ["cupy", "doctor", "step", "smallest", "seconds", "memcheck"]
    subprocess.run([*command, *parts], check=True, capture_output=True, timeout=500)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "a host, cuda:0 of 2" in report and "left out: it needs a card" in report
    assert "DIFFERS" not in report and "check 17 ok" in report
    # Eight nodes a batch; one before the first, one after the last.
    graphs = ("8 batches: 65 nodes", "8 batches: 64 nodes", "4 batches: 33 nodes")
    assert (
        "\n".join(f"  a graph of {graph}" for graph in graphs) in report
        and "float32 bf16 " in report
    )


@pytest.mark.attack
@needs_compiler
def test_the_rehearsal_measures_every_job_of_a_card(tmp_path: Path) -> None:
    """In processes of their own, as on a card, of xpnet and of the floor."""
    for package in BENCHMARKS:
        pytest.importorskip(package, reason="the benchmarks are not installed")
    from xpnet_bench.jobs.gpu import gpu_jobs

    command = [sys.executable, str(GPU / "first_hour.py"), "--rehearse", "-o", str(tmp_path)]
    subprocess.run([*command, "--only", "cupy", "bench"], check=True, timeout=500)
    results = json.loads((tmp_path / "bench" / "results.json").read_text(encoding="utf-8"))
    measured = json.dumps(results)
    assert all(job.name in measured for job in gpu_jobs(quick=True))
    report = (tmp_path / "bench" / "report.md").read_text(encoding="utf-8")
    rows = [line for line in report.splitlines() if line.startswith("| GPU, ")]
    assert len(rows) == len(gpu_jobs(quick=True))
    assert all(re.fullmatch(r".*(\*\*[\d.]+ m?s\*\*.*\| [\d.]+ m?s .*)", row) for row in rows)


BENCHMARKS = ("xpnet_bench.record", "psutil", "jinja2", "matplotlib", "pytest_benchmark")
"""What a run of benchmarks imports."""


class Loss(NamedTuple):
    """A card that is lost during a part.

    calls : how many calls each process of the part makes before
    told : what is on disk nevertheless; file : where, NAME.txt by default
    """

    calls: int
    told: str
    file: str = ""


LOST = {
    "what all need": {"cupy": Loss(0, "cudaErrorIllegalAddress")},
    "steps": {
        "step": Loss(150, "cudaErrorIllegalAddress"),
        "smallest": Loss(500, "float32 fp32                   2.5"),
        "seconds": Loss(150, "check 11 ok"),
        "times": Loss(3000, "training  "),
        "sizes": Loss(400, "batch 4  "),
    },
    "tests": {
        "tests-step": Loss(3000, "1 failed, 23 passed"),
        "tests-operations": Loss(500, "1 failed, 46 passed"),
        "tests-arrays": Loss(300, "1 failed, "),
    },
    "benchmarks": {
        "bench": Loss(
            1000, "batch 128 float32 | – | 0.00× (0.00×–0.00×) | **4 ms**", "bench/report.md"
        ),
    },
}
"""Parts of one rehearsal, each of which loses the card."""


@pytest.mark.attack
@needs_compiler
@pytest.mark.parametrize("parts", LOST)
def test_a_card_that_is_lost_in_a_part_is_there_in_the_next(
    parts: str, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """What came before the loss is on disk; the parts before and after it are done, unless none can
    be without it.
    """
    for package in BENCHMARKS if parts == "benchmarks" else ("click",):
        pytest.importorskip(package, reason=f"a part needs {package}, which is not installed")
    lost = LOST[parts]
    losses = [f"{name}:{loss.calls}" for name, loss in lost.items()]
    options = ["--rehearse", "-o", str(tmp_path / "out"), "--only", "cupy", *lost, "doctor"]
    process = subprocess.run(
        [sys.executable, str(GPU / "first_hour.py"), *options, "--lose", *losses],
        check=False,
        capture_output=True,
        text=True,
        timeout=1000,
    )
    assert process.returncode == 1 and not process.stderr
    ended = json.loads((tmp_path / "out" / "parts.json").read_text(encoding="utf-8"))["parts"]
    words = {part: re.split(r"\W", ending)[0] for part, ending in ended.items()}
    after = "left" if "cupy" in lost else "done"
    assert words == {"cupy": "done", "doctor": after} | dict.fromkeys(lost, "failed")
    for name, loss in lost.items():
        with subtests.test(part=name):
            told = (tmp_path / "out" / (loss.file or f"{name}.txt")).read_text(encoding="utf-8")
            assert loss.told in told


CHILD = """
import os, sys
titles = dict(zip(map(int, sys.argv[2].split(",")), sys.argv[3].split("|")))
for number in map(int, sys.argv[4:]):
    print(titles[number])
    if number == int(sys.argv[1]) or number == 3:
        os._exit(9)
    told = "DIFFERS: it is slow" if number == 2 else "ok"
    print(f"     check {number} {told}, 0.1 s")
"""
"""Checks of which the third and the one of a number end the process."""

IN_TURN = """
import sys
import assumptions
numbers, (broken, child) = [1, 2, 3, 5], sys.argv[2:]
titles = "|".join(map(assumptions.title, numbers))
known = [",".join(map(str, numbers)), titles]
sys.exit(assumptions.run_in_turn(numbers, [sys.executable, "-u", "-c", child, broken, *known]))
"""


@pytest.mark.parametrize("broken", [0, 1])
@needs_compiler
def test_a_check_that_ends_its_process_ends_no_other(broken: int) -> None:
    """The others are made in a process of their own, and each is told once."""
    ended = subprocess.run(
        module_command("cuda.cupy_on_host", "-c", IN_TURN, broken, CHILD),
        check=False,
        env=with_helpers(os.environ, str(GPU)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    told = re.findall(r"^ +check (\d) (ok|DIFFERS: [\w ]+)", ended.stdout, re.MULTILINE)
    died = "DIFFERS: the process ended with exit code 9"
    wanted = {"1": died if broken else "ok", "2": "DIFFERS: it is slow", "3": died, "5": "ok"}
    assert told == list(wanted.items()), ended.stdout + ended.stderr
    assert ended.returncode == 2 + broken


def test_a_test_that_is_left_out_is_a_failure(
    first_hour: Any, tmp_path: Path, run_command: Any
) -> None:
    """Since a package is missing, or since there is no time; other parts may be left out."""
    lacks = {"needs": ("no_such_package",)}
    exit_codes = {}
    for name, part, seconds in (
        ("package", first_hour.Part("tests", "", ["-c", ""], test=True, **lacks), "60"),
        ("time", first_hour.Part("tests", "", ["-c", ""], test=True), "1"),
        ("other", first_hour.Part("bench", "", ["-c", ""], **lacks), "60"),
    ):
        exit_codes[name] = run_command([part], "--seconds", seconds, folder=name)
        with tarfile.open(tmp_path / f"{name}.tar.gz") as packed:
            assert packed.getnames()[0] == f"{name}/report.md"
    assert exit_codes == {"package": 1, "time": 1, "other": 0}


def test_results_of_two_cards_do_not_meet(
    first_hour: Any, tmp_path: Path, run_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [first_hour.Part(name, "", ["-c", ""]) for name in ("first", "second")]
    for card, only in (("GPU 0: H100", []), ("GPU 0: H200", ["--only", "second"])):
        monkeypatch.setattr(first_hour, "card", lambda card=card: card)
        assert run_command(parts, *only) == 0
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "## second" in report and "## first" not in report


def test_checks_of_another_card_confirm_nothing(
    first_hour: Any, tmp_path: Path, run_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "     check 3 ok, 1 s\n"
    parts = [
        first_hour.Part("step", "", ["-c", ""]),
        first_hour.Part("seconds", "", ["-c", f"print({told!r})"]),
    ]
    for card, only, confirms in (
        ("GPU 0: H100", [], True),
        ("GPU 0: H100", ["--only", "step"], True),
        ("GPU 0: H200", ["--only", "step"], False),
    ):
        monkeypatch.setattr(first_hour, "card", lambda card=card: card)
        assert run_command(parts, *only) == 0
        claims = (tmp_path / "out" / "claims.md").read_text(encoding="utf-8")
        assert ("| confirmed |" in claims) == confirms, card


def test_a_clone_is_registered_where_scikit_learn_is_missing(tmp_path: Path) -> None:
    """As on a machine that has CuPy and pytest alone; array-api-compat is then asked for where it
    is needed.
    """
    hide = "import sys; sys.modules['sklearn'] = sys.modules['array_api_compat'] = None; "
    run = f"import runpy; runpy.run_path({str(GPU / 'register.py')!r}, run_name='__main__')"
    code = f"{hide}sys.argv[1:] = [{str(tmp_path)!r}]; {run}"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.glob("xpnet-*.dist-info/entry_points.txt"))


def test_a_bare_interpreter_says_what_to_install(tmp_path: Path) -> None:
    """Without packages no part but that of the card can run: each says what is missing."""
    command = [sys.executable, "-I", "-S", str(GPU / "first_hour.py"), "-o", str(tmp_path)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 1, ended.stderr
    assert "pip install" in ended.stdout and "cupy-cuda13x[ctk]" in ended.stdout
    assert "array-api-compat" in ended.stdout and not ended.stderr
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    for part in ("cupy", "step", "smallest", "times", "tests-step", "sizes", "doctor", "bench"):
        line = next(line for line in report.splitlines() if line.startswith(f"| [{part}]"))
        assert "left out: " in line and "numpy" in line and "not installed" in line


@pytest.mark.parametrize(
    ("reason", "code"), [("there is one GPU", 0), ("PyTorch is not installed", 0), ("no card", 1)]
)
def test_expected_skips_alone_are_no_failure(
    first_hour: Any, tmp_path: Path, run_command: Any, reason: str, code: int
) -> None:
    skips = tmp_path / "test_skips.py"
    text = f"import pytest\ndef test_a():\n    pytest.skip({reason!r})\ndef test_b():\n    pass\n"
    skips.write_text(text)
    options = ["-v", "-rs", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(skips)]
    part = first_hour.Part("tests", "", ["-m", "pytest", *options], test=True)
    assert run_command([part]) == code


def test_reasons_of_expected_skips_are_those_of_the_tests(first_hour: Any) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in GPU.glob("test_gpu_*.py"))
    packages = re.compile("needs .+?, which")
    reasons = [packages.sub("needs {package}, which", r) for r in first_hour.EXPECTED_SKIPS]
    assert [reason for reason in reasons if reason not in text] == []


def test_the_checkers_look_at_every_kernel(first_hour: Any, tmp_path: Path) -> None:
    from xpnet_cupy.launcher import KERNELS

    part = next(part for part in first_hour.parts(tmp_path, False) if part.name == "memcheck")
    command, _ = first_hour._command(part, rehearse=False)
    assert {f"kernel_name={name}" for name in KERNELS} <= set(command)
    assert command[-1] == "smallest"


def test_tests_of_a_card_fail_where_there_is_none() -> None:
    """A run of skipped tests would read as success."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", GPU]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        command, check=False, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert "NVIDIA GPU" in ended.stderr


def test_a_warning_of_pytorchs_import_fails_no_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(
        "import types, warnings\n"
        "warnings.warn('the package pynvml is old', FutureWarning)\n"
        "cuda = types.SimpleNamespace(is_available=lambda: False)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    tests = runpy.run_path(str(GPU / "test_gpu_arrays.py"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(pytest.skip.Exception, match="this PyTorch has no CUDA"):
            tests["test_torch_tensors_are_taken_without_a_copy"](backend=None)
    sys.modules.pop("torch")


MINUTE = 60


def test_parts_fit_into_the_minutes_that_they_promise(first_hour: Any, tmp_path: Path) -> None:
    """Also where each takes all the time that it has: the limits add up to less."""
    every = first_hour.parts(tmp_path, rehearse=False)
    assert [part.milestone for part in every] == sorted(part.milestone for part in every)
    for minutes in first_hour.MILESTONES:
        limits = sum(part.limit for part in every if part.milestone <= minutes)
        assert limits <= minutes * MINUTE, f"{limits} s are promised in {minutes} minutes"
    decide = {part for claim in claims_of(first_hour) for part in claim.parts}
    late = {part.name for part in every if part.milestone > 10} & decide
    assert late == {"tests-arrays"}  # which says nothing of kernels


def claims_of(first_hour: Any) -> Any:
    import claims

    return claims.CLAIMS


def test_every_part_may_fail_and_the_others_are_reported(
    first_hour: Any, tmp_path: Path, run_command: Any
) -> None:
    """A card that fails at one part after the other: what was found before is kept, and what comes
    after is run, or told to be left out where nothing after it makes sense.
    """
    names = [part.name for part in first_hour.parts(tmp_path, rehearse=False)]
    for failing in range(len(names)):
        parts = [
            first_hour.Part(
                name,
                "",
                ["-c", f"print('seen {name}', flush=True); {'1 / 0' if k == failing else ''}"],
                required=name == "cupy",
            )
            for k, name in enumerate(names)
        ]
        assert run_command(parts, folder=f"{failing}") == 1
        folder = tmp_path / f"{failing}"
        ended = json.loads((folder / "parts.json").read_text(encoding="utf-8"))["parts"]
        run = names[: failing + 1] if names[failing] == "cupy" else names
        assert list(ended) == names
        for name in names:
            begins = (
                "left out: cupy failed"
                if name not in run
                else "failed with exit code 1"
                if name == names[failing]
                else "done"
            )
            assert ended[name].startswith(begins), (name, ended[name])
        for name in run:
            said = (folder / f"{name}.txt").read_text(encoding="utf-8")
            assert said.startswith(f"seen {name}\n")
        claims = (folder / "claims.md").read_text(encoding="utf-8")
        assert ("refuted by" in claims) == (names[failing] in DECIDING)
        with tarfile.open(tmp_path / f"{failing}.tar.gz") as packed:
            assert f"{failing}/claims.md" in packed.getnames()


DECIDING = {"cupy", "step", "smallest", "tests-step", "times", "tests-arrays"}
"""Parts that decide a claim of the pages."""


DONE = "done after 3 s"


@pytest.mark.parametrize(
    ("ended", "checks", "tests", "outcome"),
    [
        ("", {}, {}, "open: times, check 7, test_a"),
        (DONE, {7: True}, {"test_a": "PASSED"}, "confirmed"),
        (DONE, {}, {"test_a": "PASSED"}, "open: check 7"),
        (DONE, {7: True}, {"test_a": "SKIPPED"}, "open: test_a"),
        ("ended by the clock", {7: True}, {"test_a": "PASSED"}, "open: times"),
        ("failed with exit code 1", {7: True}, {"test_a": "PASSED"}, "refuted by times"),
        (DONE, {7: False}, {"test_a": "FAILED"}, "refuted by check 7, test_a"),
    ],
)
def test_a_claim_is_decided_by_its_parts_checks_and_tests(
    first_hour: Any, ended: str, checks: dict[int, bool], tests: dict[str, str], outcome: str
) -> None:
    import claims

    claim = claims.Claim("README.md", "a sentence.", ("times",), (7,), ("test_a",))
    assert claims.outcome(claim, claims.Seen({"times": ended}, checks, tests)) == outcome


def test_claims_follow_the_checks_and_tests_that_parts_told(
    first_hour: Any, tmp_path: Path, run_command: Any
) -> None:
    told = "      check 3 ok, 1 s\n      check 6 DIFFERS: slow, 2 s\n"
    tests = "a.py::test_jax_arrays_train_on_the_card PASSED [ 1%]\n"
    tests += "".join(
        f"a.py::test_torch_tensors_train_on_the_card[{case}] {how} [ 2%]\n"
        for case, how in (("x", "FAILED"), ("y", "PASSED"))
    )
    parts = [
        first_hour.Part("seconds", "", ["-c", f"print({told!r})"]),
        first_hour.Part("tests-arrays", "", ["-c", f"print({tests!r})"]),
    ]
    assert run_command(parts) == 0
    lines = (tmp_path / "out" / "claims.md").read_text(encoding="utf-8").splitlines()
    outcomes = {line.split(" | ")[1]: line.split(" | ")[2] for line in lines[3:]}
    assert outcomes["An epilogue with ReLU may turn NaN into 0."] == "confirmed |"
    assert outcomes["unless cuBLASLt splits it."] == "refuted by check 6 |"
    assert outcomes["GPUs of NVIDIA included."].startswith("refuted by test_torch_tensors")


@pytest.mark.repository
def test_every_unconfirmed_sentence_is_marked_in_its_page(first_hour: Any) -> None:
    """And nothing else is; each page says what the mark means."""
    import claims

    root = GPU.parents[1]
    for page in {claim.page for claim in claims.CLAIMS}:
        text = " ".join((root / page).read_text(encoding="utf-8").split())
        endings = [claim.ending for claim in claims.CLAIMS if claim.page == page]
        assert [text.count(ending + claims.MARK) for ending in endings] == [1] * len(endings), page
        assert text.count(claims.MARK) == len(endings) + 1  # the explanation of the mark


def test_benchmarks_are_kept_under_the_name_of_the_card(
    first_hour: Any, tmp_path: Path, run_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_hour, "card", lambda: "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\n")
    measured, results = tmp_path / "out" / "bench", tmp_path / "results"
    monkeypatch.setattr(first_hour, "RESULTS", results)
    write = (
        f"from pathlib import Path; folder = Path({str(measured)!r}); folder.mkdir(); "
        '[(folder / name).write_text(\'{"xpnet_bench": {"runs": []}}\') '
        "for name in ('results.json', 'report.md', 'a.html')]"
    )
    assert run_command([first_hour.Part("bench", "", ["-c", write], measures=True)]) == 0
    (folder,) = results.iterdir()
    assert folder.name == "nvidia-h100-80gb-hbm3"
    assert sorted(path.name for path in folder.iterdir()) == ["report.md", "results.json"]


@pytest.mark.parametrize(("contender", "code"), [("xpnet-cupy", 1), ("jax-cuda", 0)])
def test_a_benchmark_that_xpnet_could_not_do_is_a_failure(
    first_hour: Any, tmp_path: Path, run_command: Any, contender: str, code: int
) -> None:
    """The run goes on without the library that failed, as where the card was lost."""
    skipped = [{"contender": contender, "job": "a job", "reason": "cudaErrorIllegalAddress"}]
    (tmp_path / "out" / "bench").mkdir(parents=True)
    numbers = json.dumps({"xpnet_bench": {"runs": [{"skipped": skipped}]}})
    (tmp_path / "out" / "bench" / "results.json").write_text(numbers, encoding="utf-8")
    part = first_hour.Part("bench", "", ["-c", ""], measures=True)
    assert run_command([part], "--rehearse") == code


WITH_PEERS = """
import sys
from pathlib import Path
import numpy
from helpers.made_up import run
from xpnet_bench.jobs.gpu import gpu_jobs
from xpnet_bench.measure.race import Lane
from xpnet_bench.record import Record

names = ("xpnet-cupy", "torch-cuda", "torch-cuda.compile", "torch-cuda.captured", "jax-cuda")
asked = {"why": "the run was interrupted", "jobs": [job.name for job in gpu_jobs(quick=False)]}
folder = Path(sys.argv[1])
folder.mkdir()
record = Record(folder / "results.json", {**run(), "left_out": asked})
lanes = {name: Lane(name, seconds=[1e-5 * (k + 1)] * 3, turns=3) for k, name in enumerate(names)}
for job in gpu_jobs(quick=False)[:2]:
    record.add(job, lanes)
"""


def test_the_comparison_is_a_table_also_where_the_run_was_killed(
    first_hour: Any, tmp_path: Path, run_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes its numbers after each job, and its report at the end."""
    for package in ("xpnet_bench.record", "jinja2", "matplotlib"):
        pytest.importorskip(package, reason="the benchmarks are not installed")
    monkeypatch.setattr(first_hour, "card", lambda: "GPU 0: NVIDIA H100 (UUID: GPU-1)\n")
    monkeypatch.setattr(first_hour, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("PYTHONPATH", with_helpers(os.environ)["PYTHONPATH"])
    code = f"{WITH_PEERS}\nimport os; os._exit(9)"
    part = first_hour.Part("peers", "", ["-c", code, str(tmp_path / "out" / "bench")])
    assert run_command([replace(part, measures=True)]) == 1
    report = (tmp_path / "results" / "nvidia-h100" / "report.md").read_text(encoding="utf-8")
    rows = [line for line in report.splitlines() if line.startswith("|")]
    for name in ("xpnet-cupy", "torch-cuda.compile", "torch-cuda.captured", "jax-cuda"):
        assert any(name in row for row in rows), name
    assert "64-32-10 batch 128 float32" in report


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        ({}, "none made with this card, driver and CuPy"),
        ({1: True, 2: True}, "2 of 2 hold"),
        ({1: True, 6: False, 2: True, 14: False}, "2 of 4 hold; not 6, 14"),
    ],
)
def test_doctor_tells_which_checks_held_on_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcomes: dict[int, bool], told: str
) -> None:
    from xpnet_cupy import checked

    monkeypatch.setattr(checked, "PATH", tmp_path / "folder" / "checks.json")
    checked.keep_checks("another card", {1: False})
    for number, ok in outcomes.items():
        checked.keep_checks("a card", {number: ok})
    assert checked.told_checks("a card") == told
    (tmp_path / "folder" / "checks.json").write_text("[", encoding="utf-8")
    assert checked.told_checks("another card").startswith("none made")
