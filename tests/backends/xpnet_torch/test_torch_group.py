"""Training on ranks that PyTorch's launchers start: ``torchrun``, Ray Train, Spark."""

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.ranks.launch import PROGRAMS, run, torchrun
from helpers.ranks.programs import facts, fit, rows

import xpnet

pytest.importorskip("torch.distributed", reason="PyTorch is not installed")


def test_the_answer_is_that_of_one_process() -> None:
    ended = torchrun(2, PROGRAMS, "training", "torch", "same")
    assert (ended.code, ended.left) == (0, []), ended.stderr
    found, expected = json.loads(ended.stdout), facts(fit(*rows(53)))
    assert found["equal"] and found["why"].startswith("gloo of PyTorch")
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-10)
    for name, values in expected["params"].items():
        np.testing.assert_allclose(found["params"][name], values, rtol=1e-10, atol=1e-13)


@pytest.mark.exhaustive
def test_a_program_may_open_groups_one_after_another() -> None:
    ended = torchrun(2, PROGRAMS, "again", "torch")
    assert (ended.code, ended.left) == (0, []), ended.stderr
    assert json.loads(ended.stdout) == [2.0] * 3


@pytest.mark.attack
def test_a_rank_that_does_not_come_to_the_opening() -> None:
    ended = torchrun(2, PROGRAMS, "alone", "torch")
    assert ended.code not in (0, None) and ended.left == [] and ended.stdout == ""
    assert "needs all processes that a launcher of PyTorch starts, within 2 s" in ended.stderr, (
        ended.stderr
    )


@pytest.mark.attack
@pytest.mark.parametrize("what", ["exit in silence", "miss"])
def test_all_ranks_end(what: str) -> None:
    ended = torchrun(2, PROGRAMS, "failing", "torch", what)
    assert ended.code not in (0, None)
    assert ended.left == [] and "done" not in ended.stdout
    assert f"rank {0 if what == 'miss' else 1} of 2 failed" in ended.stderr, ended.stderr


@pytest.mark.attack
@pytest.mark.parametrize("what", ["SIGKILL", "SIGSTOP"])
def test_the_loss_of_a_rank_ends_the_others_with_one_sentence(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without torchrun, which may end the other rank first: as where each machine has a launcher of
    # its own.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "WORLD_SIZE": "2",
        }
    command = [sys.executable, str(PROGRAMS), "failing", "torch", what]
    lost = subprocess.Popen(command, env={**os.environ, **address, "RANK": "1"})
    try:
        for name, value in {**address, "RANK": "0"}.items():
            monkeypatch.setenv(name, value)
        ended = run(command)
    finally:
        lost.kill()
        lost.wait()
    said = (
        "rank 0 of 2 failed: BackendError: All ranks must stay until the end; "
        "rank 0 of 2 has lost another ("
    )
    reason = "(closed|reset) by peer" if what == "SIGKILL" else "Timed out waiting"
    assert (ended.code, ended.left) == (1, []) and re.search(
        rf"{re.escape(said)}[^)]*{reason}", ended.stderr
    )


def test_without_a_launcher(monkeypatch: Any) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(xpnet.BackendError, match="torchrun"), xpnet.use_group("torch"):
        pass


@pytest.mark.repository
@pytest.mark.parametrize(
    "package, page", [("ray.train", "train_on_ray"), ("pyspark", "train_on_spark")]
)
def test_the_page_holds_what_it_shows(package: str, page: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        pytest.skip(f"{package} is not installed")
    if package == "pyspark" and shutil.which("java") is None:
        pytest.skip("Spark needs a Java runtime")
    text = (Path(__file__).parents[3] / "docs" / "how_to" / f"{page}.md").read_text(
        encoding="utf-8"
    )
    (tmp_path / "train.py").write_text(
        text.split("```python\n")[1].split("```")[0], encoding="utf-8"
    )
    ended = run([sys.executable, "train.py"], cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert "'accuracy': 0.9" in ended.stdout and "'ranks': 2" in ended.stdout
