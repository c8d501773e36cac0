"""Training on ranks that ``mpirun`` starts: the answer of one process, and an end whatever happens
to one rank.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.ranks.launch import PROGRAMS, mpirun, needs_mpi
from helpers.ranks.programs import WAITED, facts, fit, rows

pytestmark = needs_mpi


@pytest.mark.parametrize("data, ranks, count", [("same", 2, 53), ("same", 4, 53), ("own", 3, 207)])
def test_the_answer_is_that_of_one_process(data: str, ranks: int, count: int) -> None:
    ended = mpirun(ranks, sys.executable, PROGRAMS, "training", "mpi", data)
    assert (ended.code, ended.left) == (0, []), ended.stderr
    found, expected = json.loads(ended.stdout), facts(fit(*rows(count)))
    assert found["equal"]
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-10)
    for name, values in expected["params"].items():
        np.testing.assert_allclose(found["params"][name], values, rtol=1e-10, atol=1e-13)


@pytest.mark.attack
@pytest.mark.parametrize(
    "what, code, said",
    [
        (
            "raise",
            1,
            "rank 1 of 2 on * failed, which ends all ranks: ValueError: the shelf is empty",
        ),
        ("exit", 3, "rank 1 of 2 on * failed, which ends all ranks: SystemExit: 3"),
        ("exit in silence", 1, "rank 1 of 2 on * failed, which ends all ranks: SystemExit:"),
        ("miss", 1, f"rank 0 of 2 waited {WAITED:g} s in a sum for rank 1, which did not come"),
        ("other call", None, "rank "),
        ("SIGKILL", None, "rank 1"),
        ("SIGSTOP", 1, f"rank 0 of 2 waited {WAITED:g} s in a sum for rank 1, which did not come"),
        ("SIGKILL within an epoch", None, "rank 1"),
        (
            "SIGSTOP within an epoch",
            1,
            f"rank 0 of 2 waited {WAITED:g} s in a step of training for rank 1, which did not come",
        ),
        (
            "nan",
            1,
            "rank 1 of 2 on * failed, which ends all ranks: InputError: `X` must hold finite "
            "numbers to train on; got NaN",
        ),
        (
            "dtype",
            1,
            "InputError: All ranks must train one network*rank 1 has dtype = 'float32', rank 0 has "
            "'float64'",
        ),
    ],
)
def test_all_ranks_end(what: str, code: int | None, said: str) -> None:
    ended = mpirun(2, sys.executable, PROGRAMS, "failing", "mpi", what)
    assert ended.code == code if code is not None else ended.code not in (0, None)
    assert ended.left == []
    assert "done" not in ended.stdout
    place = 0
    for part in said.split("*"):
        place = ended.stderr.find(part, place)
        assert place >= 0, ended.stderr


@pytest.mark.repository
def test_the_page_holds_what_it_shows(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "user_guide" / "distributed.md").read_text(
        encoding="utf-8"
    )
    (tmp_path / "train.py").write_text(
        page.split("```python\n")[1].split("```")[0], encoding="utf-8"
    )
    ended = mpirun(2, sys.executable, "train.py", cwd=tmp_path)
    assert (ended.code, ended.left) == (0, []), ended.stderr
    assert ended.stdout.startswith("accuracy 0.9") and ended.stdout.endswith("by 2 ranks\n")
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["digits.safetensors"]
