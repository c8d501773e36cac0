"""What README and guide say of GPUs that no card has confirmed, and what decides it.

Each sentence ends with MARK in its page. ``first_hour.py`` writes ``claims.md``; a sentence that is
confirmed loses its mark and its line here, one that is refuted is corrected.
"""

from collections.abc import Mapping
from typing import NamedTuple

MARK = "†"


class Claim(NamedTuple):
    """A sentence of a page.

    page : from the root; ending : the last words of the sentence
    parts : of the first hour that must be done; checks : of ``first_step.py seconds`` that must
        hold; tests : that must pass, and may be skipped for what is not there
    """

    page: str
    ending: str
    parts: tuple[str, ...] = ()
    checks: tuple[int, ...] = ()
    tests: tuple[str, ...] = ()


BACKEND, GUIDE = "backends/xpnet_cupy/README.md", "docs/user_guide/backends.md"

CLAIMS = (
    Claim(
        "README.md", "CUDA kernels and a training step for NVIDIA GPUs", ("smallest", "tests-step")
    ),
    Claim(
        GUIDE, "CUDA kernels and a training step for NVIDIA GPUs", ("smallest", "tests-step"), (2,)
    ),
    Claim(GUIDE, "train on the GPU.", ("smallest", "tests-step"), (2,)),
    Claim(GUIDE, "are computed in float32 by default.", (), (2,)),
    Claim(GUIDE, "sums, updates and losses stay float32.", ("smallest", "tests-step")),
    Claim(GUIDE, 'with `"bf16"` to the 7 of bfloat16.', ("tests-step",), (2,)),
    Claim(GUIDE, "have a compiled step, too.", ("times",), (2, 4)),
    Claim(GUIDE, "and no CUDA toolkit.", ("cupy",), (1,)),
    Claim(
        GUIDE,
        "GPUs of NVIDIA included.",
        tests=("test_torch_tensors_train_on_the_card", "test_jax_arrays_train_on_the_card"),
    ),
    Claim(
        GUIDE,
        "On CUDA the compiled update is a CUDA graph.",
        tests=("test_torch_tensors_train_on_the_card",),
    ),
    Claim(
        "docs/user_guide/estimators.md",
        "and `predict` returns CuPy arrays.",
        ("tests-arrays",),
    ),
    Claim("docs/user_guide/estimators.md", "the estimator predicts on the CPU.", ("tests-arrays",)),
    Claim(
        "docs/user_guide/distributed.md",
        "`backend=CupyBackend(device=...)` on another.",
        tests=("test_the_arrays_device_is_used_and_kept",),
    ),
    Claim("docs/user_guide/distributed.md", "do not fit into the memory of one.", ("times",), (7,)),
    Claim(
        "docs/tutorials/array_libraries.md",
        "# a tensor on that device",
        tests=("test_torch_tensors_train_on_the_card",),
    ),
    Claim(
        "docs/tutorials/array_libraries.md",
        "a training step that is captured in a CUDA graph.",
        ("step",),
        (4,),
    ),
    Claim("docs/faq.md", 'or with `backend="cupy"`.', ("smallest", "tests-step"), (2,)),
    Claim(
        "docs/index.md",
        "arrays are computed where they are.",
        ("tests-arrays",),
        tests=("test_torch_tensors_train_on_the_card", "test_jax_arrays_train_on_the_card"),
    ),
    Claim("docs/design/weight.md", "and does not wait for them.", ("times",), (7,)),
    Claim(BACKEND, "a step has 11 launches.", ("step",), (4,)),
    Claim(BACKEND, "and two more for each layer with dropout.", ("step",), (4,)),
    Claim(BACKEND, "an epoch of up to eight batches is one replay.", ("step",), (4, 7)),
    Claim(BACKEND, "and keeps none of them alive.", ("tests-step",), (8,)),
    Claim(BACKEND, "bit for bit on every machine with that card.", ("tests-step",), (5, 16)),
    Claim(BACKEND, "unless cuBLASLt splits it.", (), (6,)),
    Claim(BACKEND, "An epilogue with ReLU may turn NaN into 0.", (), (3,)),
    Claim(BACKEND, "cuBLASLt's bit is 1 and the gradient passes;", (), (3,)),
    Claim(BACKEND, "waits until its arguments have been read.", (), (14,)),
    Claim(BACKEND, "where the driver has ended first.", (), (12,)),
)


class Seen(NamedTuple):
    """What a card has shown so far.

    ended : how each part has ended; checks : whether an assumption holds, by its number
    tests : how each test ended, ``PASSED``, ``FAILED`` or ``SKIPPED``; one FAILED of several cases
    """

    ended: Mapping[str, str]
    checks: Mapping[int, bool]
    tests: Mapping[str, str]


def outcome(claim: Claim, seen: Seen) -> str:
    """Return ``confirmed``, ``open`` or ``refuted`` with what decided it."""
    ended, checks, tests = seen
    broken = [part for part in claim.parts if ended.get(part, "").startswith("failed")]
    broken += [f"check {number}" for number in claim.checks if checks.get(number) is False]
    broken += [test for test in claim.tests if tests.get(test) == "FAILED"]
    if broken:
        return f"refuted by {', '.join(broken)}"
    pending = [part for part in claim.parts if not ended.get(part, "").startswith("done")]
    pending += [f"check {number}" for number in claim.checks if number not in checks]
    pending += [test for test in claim.tests if tests.get(test) != "PASSED"]
    return f"open: {', '.join(pending)}" if pending else "confirmed"


def claims_table(seen: Seen) -> str:
    """Return all claims with their outcomes, as Markdown."""
    lines = ["# What the pages claim of GPUs", "", "| page | ... sentence | outcome |"]
    lines.append("| --- | --- | --- |")
    lines += [f"| {claim.page} | {claim.ending} | {outcome(claim, seen)} |" for claim in CLAIMS]
    return "\n".join(lines) + "\n"
