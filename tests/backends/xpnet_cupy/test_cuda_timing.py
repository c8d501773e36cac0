"""What is chosen by timing: algorithms of products, and the epilogues that they carry."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cupy_on_host
import numpy as np
import pytest
from cuda_checks import RULES, data, weights
from cuda_host import needs_compiler
from cupy_on_host import Event, launched
from xpnet_cupy import CupyBackend
from xpnet_cupy.timing import Timings
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec
from xpnet.errors import BackendError
from xpnet.steps import ReferenceStep

pytestmark = needs_compiler
SPEC = NetworkSpec((7, 6, 4), ("relu",), rule=RULES["adam"], dtype="float32")


def takes(**microseconds: float) -> dict[str, Any]:
    """Ways that say how long they take; infinity for one that is refused."""

    def way(time: float) -> Any:
        def launch() -> float:
            if time == float("inf"):
                raise BackendError("refused")
            return time

        return launch

    return {name: way(time) for name, time in microseconds.items()}


def test_the_fastest_is_taken_and_remembered(tmp_path: Path) -> None:
    path, asked = tmp_path / "new" / "card.json", []

    def time(launch: Any) -> float:
        asked.append(launch)
        return launch()

    for timings in (Timings(path, time), Timings(path, time)):
        assert timings.fastest("a product", takes(first=3, second=1, third=float("inf"))) == "second"
    kept = {"chosen": "second", "microseconds": {"first": 3, "second": 1}}
    assert len(asked) == 3 and json.loads(path.read_text()) == {"a product": kept}
    assert Timings(path, time).fastest("a product", takes(first=3, third=2)) == "third"  # what was best is not offered


def test_what_is_hardly_faster_does_not_take_the_place_of_the_first(tmp_path: Path) -> None:
    """Two timings of one way differ by as much."""
    timings = Timings(tmp_path / "card.json", lambda launch: launch())
    assert timings.fastest("a product", takes(first=100, second=97)) == "first"
    assert timings.fastest("another", takes(first=100, second=90)) == "second"


def test_two_processes_at_a_time_agree_on_the_earlier_choice(tmp_path: Path) -> None:
    """Other choices are other roundings, and a run repeats bit for bit."""
    early, late = (Timings(tmp_path / "card.json", lambda launch: launch()) for _ in range(2))
    assert early.fastest("a product", takes(first=2, second=1)) == "second"
    assert early.fastest("another", takes(first=2, second=1)) == "second"
    assert late.fastest("a product", takes(first=1, second=2)) == "second"
    assert set(json.loads((tmp_path / "card.json").read_text())) == {"a product", "another"}


def test_all_refused_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="One of 2 ways must run a product on this card; all were refused"):
        Timings(tmp_path / "a", lambda launch: launch()).fastest("a product", takes(a=float("inf"), b=float("inf")))


@pytest.mark.parametrize("content", ["", "[]", '{"a": '])
def test_a_file_that_is_not_whole_is_made_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "card.json"
    path.write_text(content)
    assert Timings(path, lambda launch: launch()).fastest("a", takes(x=2, y=1)) == "y"
    assert json.loads(path.read_text()) == {"a": {"chosen": "y", "microseconds": {"x": 2, "y": 1}}}


def test_where_nothing_can_be_written_nothing_is_timed(tmp_path: Path) -> None:
    """Each process would choose anew, and a run would not repeat bit for bit."""
    (tmp_path / "file").touch()
    assert Timings(tmp_path / "file" / "card.json", lambda launch: launch()).fastest("a", takes(x=2, y=1)) == "x"


@pytest.fixture
def cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in for CuPy with a cache of its own."""
    with cupy_on_host.installed() as module:
        monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
        monkeypatch.setattr("xpnet_cupy.cublaslt._alignment", lambda address: 4)  # NumPy's vary from array to array
        yield module


def epoch(backend: CupyBackend) -> list[str]:
    """Kernels of one epoch of a batch, which agrees with the reference's."""
    step, reference = backend.compile_step(SPEC), ReferenceStep(SPEC, NumpyBackend(), "")
    for one in (step, reference):
        one.params.update(weights(SPEC))
    X, Y = data(SPEC, "indices")
    arrays, options = (backend.asarray(X), backend.asarray(Y)), {"learning_rate": 0.1, "batch_size": len(X)}
    for _ in range(2):
        launched.clear()
        assert step.epoch(*arrays, **options) == pytest.approx(reference.epoch(X, Y, **options), rel=1e-4)
    found = list(launched)
    np.testing.assert_allclose(step.forward(arrays[0]), reference.forward(X), rtol=1e-3)
    return found


def test_algorithms_are_timed_for_training_alone(cuda: Any, tmp_path: Path) -> None:
    epoch(CupyBackend())
    assert set(cuda.library.used) == {0, 1, 2, 3}  # all were tried, the second was refused
    cuda.library.used.clear()
    epoch(CupyBackend())
    assert set(cuda.library.used) == {2, 0}  # the fastest, remembered; the likely best for a prediction
    (file,) = (tmp_path / "xpnet").iterdir()
    assert file.name == "a-host-driver-13000-cublaslt-130000.json"


@pytest.mark.parametrize("epilogue", [0.0, 5.0])
def test_epilogues_are_carried_where_that_is_faster(
    cuda: Any, epilogue: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow epilogue gives way to kernels of their own: two biases, ReLU back with its bias, and a sum of columns."""
    monkeypatch.setattr(Event, "epilogue", epilogue)
    found = epoch(CupyBackend())
    assert ("bias_relu" in found) == ("relu_backward_bias" in found) == bool(epilogue)
