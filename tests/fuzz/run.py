"""Run a harness under atheris, which makes new inputs from those that reach new branches.

``PYTHONPATH=tests python -m fuzz.run encoder --seconds 3600`` ends after an hour, or at the first
input that fails, which it leaves in out/fuzz. The inputs that it finds useful are also kept there,
and the next run begins with them. ``--keep`` copies some of them to tests/fuzz/corpus.
"""

import argparse
import random
import shutil
import sys
from pathlib import Path

import atheris
from helpers import damage

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
OUT = ROOT / "out" / "fuzz"

WHOLE_FILES = {"model_file": ROOT / "tests" / "modelfile" / "corpus" / "0.1.0"}
"""Inputs to begin with that lie elsewhere in the tree."""

FILE_HARNESSES = ("model_file", "checkpoint")
"""Harnesses whose input is a model file, which has a description in JSON."""

MAX_BYTES = 16_384
"""Maximum length of an input: longer ones reach no other branches, and are slow."""

FIRST_BYTES = 400
"""Length of the random inputs to begin with, which is enough for a table."""

MAX_KEPT_BYTES = 1500
"""Maximum length of an input that is kept in the tree."""

MAX_KEPT_INPUTS = 25
"""Maximum number of inputs that ``--keep`` adds: each change runs them all."""


def libfuzzer_options(name: str, seconds: int) -> list[str]:
    """Return the options of libFuzzer: a limit of time, of memory, and where failures go."""
    return [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES}",
        "-len_control=0",
        "-timeout=120",
        "-rss_limit_mb=6000",
        f"-artifact_prefix={OUT / name}-",
        "-print_final_stats=1",
    ]


def write_first_inputs(folder: Path) -> None:
    """Write some random inputs: shorter ones, with which a fuzzer begins, describe no table."""
    for seed in range(20):
        (folder / f"random-{seed}").write_bytes(random.Random(seed).randbytes(FIRST_BYTES))


def keep_inputs(name: str) -> None:
    """Copy the newest short inputs of a run to the corpus: each reached what none before it had."""
    new = [path for path in (OUT / name).iterdir() if not path.name.startswith("random-")]
    short = [path for path in new if path.stat().st_size <= MAX_KEPT_BYTES]
    for path in sorted(short, key=lambda path: path.stat().st_mtime)[-MAX_KEPT_INPUTS:]:
        shutil.copyfile(path, CORPUS / name / path.name)


def mutate_file(content: bytes, max_size: int, seed: int) -> bytes:
    """Change a value of the description of a model file, or any bytes."""
    chance = random.Random(seed)
    if chance.random() < 0.7:
        try:
            return damage.mutate(content, chance)[:max_size]
        except Exception:  # of any kind: the bytes may not have the form of a file
            pass
    mutated: bytes = atheris.Mutate(content, max_size)
    return mutated


def main() -> None:
    """Fuzz one harness, or keep its inputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("harness")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--keep", action="store_true", help="copy inputs to the tree")
    arguments = parser.parse_args()
    name = arguments.harness
    if arguments.keep:
        keep_inputs(name)
        return
    with atheris.instrument_imports(include=["xpnet"]):
        from fuzz.harnesses import HARNESSES

        # What is imported at first use is instrumented, too.
        kept = CORPUS / name
        for content in (b"", *map(Path.read_bytes, kept.glob("*"))):
            HARNESSES[name](content)
    kept.mkdir(parents=True, exist_ok=True)
    work = OUT / name
    work.mkdir(parents=True, exist_ok=True)
    write_first_inputs(work)
    begin = [str(folder) for folder in (kept, WHOLE_FILES.get(name)) if folder]
    options = [*libfuzzer_options(name, arguments.seconds), str(work), *begin]
    mutators = {} if name not in FILE_HARNESSES else {"custom_mutator": mutate_file}
    atheris.Setup([sys.argv[0], *options], HARNESSES[name], **mutators)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
