"""A model goes into a file and comes back: the same predictions, bit for bit, and the same file
again.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

import xpnet
from xpnet import ops, optimizers
from xpnet.models import Network

RATES = st.one_of(
    st.floats(1e-6, 1.0),
    st.builds(optimizers.Constant, st.floats(1e-6, 1.0)),
    st.builds(optimizers.StepDecay, st.floats(1e-6, 1.0), every=st.integers(1, 9)),
    st.builds(optimizers.Exponential, st.floats(1e-6, 1.0)),
    st.builds(optimizers.Cosine, st.floats(1e-6, 1.0), epochs=st.integers(1, 9)),
    st.builds(optimizers.Plateau, st.floats(1e-6, 1.0), patience=st.integers(1, 9)),
)
OPTIMIZERS = st.one_of(
    st.none(),
    st.builds(optimizers.SGD, momentum=st.floats(0.1, 0.9), nesterov=st.booleans()),
    st.builds(optimizers.Adam, beta1=st.floats(0.1, 0.9)),
    st.builds(optimizers.AdamW, weight_decay=st.floats(0.0, 0.1)),
)
ACTIVATIONS = st.sampled_from(sorted(ops.ACTIVATIONS))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A network of either class, with random weights."""
    dtype = draw(st.sampled_from(["float32", "float64"]))
    ends = draw(st.tuples(st.integers(1, 6), st.integers(1, 5)))
    hidden = draw(st.lists(st.integers(1, 7), max_size=3))
    common: dict[str, Any] = {"backend": "numpy", "dtype": dtype, "optimizer": draw(OPTIMIZERS)}
    common |= {
        "l2": draw(st.floats(0, 1)),
        "compiled": draw(st.booleans()),
        "learning_rate": draw(RATES),
    }
    if draw(st.booleans()):
        network: Network = xpnet.LogisticRegression(*ends, **common)
    else:
        rates = draw(st.sampled_from([0.0, [0.25] * len(hidden)]))
        each = [draw(ACTIVATIONS) for _ in hidden]
        network = xpnet.FeedforwardNeuralNet(
            ends[0], hidden, ends[1], activation=each, dropout=rates, **common
        )
    stream = np.random.default_rng(draw(st.integers(0, 9)))
    network.params.update(
        {name: stream.normal(size=array.shape) for name, array in network.params.items()}
    )
    return network


@given(network=networks(), extra=st.dictionaries(st.text(max_size=5), JSON, max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_what_was_saved_comes_back(tmp_path: Path, network: Network, extra: dict[str, Any]) -> None:
    path, again = tmp_path / "model.safetensors", tmp_path / "again.safetensors"
    network.save(path, extra)
    opened = xpnet.load(path, backend="numpy")
    rows = np.random.default_rng(0).normal(size=(5, network.spec.widths[0]))
    assert type(opened) is type(network)
    assert opened.spec == network.spec
    assert opened.learning_rate == network.learning_rate
    assert opened.extra == extra
    np.testing.assert_array_equal(opened.predict(rows), network.predict(rows), strict=True)
    opened.save(again)
    assert again.read_bytes() == path.read_bytes()


def trained(rng: np.random.Generator, **options: Any) -> tuple[Network, np.ndarray, np.ndarray]:
    X = rng.normal(size=(40, 4))
    Y = (X[:, 0] > 0).astype(int)
    network = xpnet.FeedforwardNeuralNet(4, 8, 2, optimizer="adam", rng=rng, **options)
    network.fit(X, Y, epochs=3, batch_size=16, rng=rng)
    return network, X, Y


def test_a_loaded_model_trains_on(tmp_path: Path, rng: np.random.Generator) -> None:
    network, X, Y = trained(rng)
    network.save(tmp_path / "model")
    opened = xpnet.load(tmp_path / "model")
    before = network.loss(X, Y)
    assert opened.fit(X, Y, epochs=20).loss[0] == pytest.approx(before)
    assert opened.loss(X, Y) < before


def test_loading_leaves_the_random_stream_alone(tmp_path: Path, rng: np.random.Generator) -> None:
    trained(rng)[0].save(tmp_path / "model")
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    xpnet.load(tmp_path / "model")
    assert np.random.random() == expected


def test_a_file_opens_on_every_library(
    tmp_path: Path, rng: np.random.Generator, library: Any
) -> None:
    network, X, _ = trained(rng, backend="numpy", dtype="float32")
    network.save(tmp_path / "model")
    opened = xpnet.load(tmp_path / "model", backend=library.backend)
    found = opened.predict(library.make(X.astype(np.float32)))
    assert type(found) is type(library.make(X))
    np.testing.assert_allclose(library.numpy(found), network.predict(X), rtol=1e-5, atol=1e-6)


def test_the_safetensors_library_reads_it(tmp_path: Path, rng: np.random.Generator) -> None:
    network, _, _ = trained(rng, backend="numpy")
    network.save(tmp_path / "model", {"columns": ["a", "b"]})
    with safe_open(tmp_path / "model", framework="numpy") as file:
        assert sorted(file.keys()) == sorted(network.params)
        np.testing.assert_array_equal(file.get_tensor("W1"), network.params["W1"])
        assert json.loads(file.metadata()["xpnet"])["description"]["extra"] == {
            "columns": ["a", "b"]
        }


def test_describe_says_what_is_in_a_file(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "model"
    trained(rng)[0].save(path, {"target": "kind"})
    facts = xpnet.modelfile.describe(path)
    assert facts["kind"] == "FeedforwardNeuralNet"
    assert (facts["widths"], facts["activations"], facts["dtype"]) == (
        [4, 8, 2],
        ["relu"],
        "float64",
    )
    assert facts["parameters"] == 4 * 8 + 8 + 8 * 2 + 2
    assert facts["tensors"]["W2"] == {"dtype": "float64", "shape": [8, 2]}
    assert (facts["extra"], facts["format"], facts["bytes"]) == (
        {"target": "kind"},
        1,
        path.stat().st_size,
    )
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize(("now", "kept"), [(0.5, 0.5), (0.0, 0.01)])
def test_a_schedule_of_ones_own_is_kept_as_its_present_value(
    tmp_path: Path, now: float, kept: float
) -> None:
    xpnet.LogisticRegression(2, 2, lambda epoch, losses: now + epoch).save(tmp_path / "model")
    assert xpnet.load(tmp_path / "model").learning_rate == kept


def test_a_class_of_ones_own_is_refused(tmp_path: Path) -> None:
    class Own(xpnet.LogisticRegression):
        """A class that no other program knows."""

    with pytest.raises(xpnet.InputError, match="got Own"):
        Own(2, 2).save(tmp_path / "model")


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    "extra", [[1], {"a": float("nan")}, {"a": {1, 2}}, {"a": "\ud800"}, {1: 1, "a": 2}]
)
def test_extra_is_json(tmp_path: Path, extra: Any) -> None:
    with pytest.raises(xpnet.InputError, match="A model file must return the model unchanged"):
        xpnet.LogisticRegression(2, 2).save(tmp_path / "model", extra)
    assert list(tmp_path.iterdir()) == []


def test_a_file_opens_without_numba_and_cupy(tmp_path: Path, rng: np.random.Generator) -> None:
    network, X, _ = trained(rng, backend="numpy")
    network.save(tmp_path / "model")
    np.save(tmp_path / "rows.npy", X)
    program = """
import sys
sys.modules |= {"numba": None, "cupy": None}
import numpy, xpnet
numpy.save("found.npy", xpnet.load("model").predict(numpy.load("rows.npy")))
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=600)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), network.predict(X))


def test_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    program = """
import sys, numpy, xpnet
rng = numpy.random.default_rng(0)
net = xpnet.FeedforwardNeuralNet(2, 3, 4, backend="numpy", rng=rng)
net.save(sys.argv[1], {"b": 1, "a": {"d": 2, "c": 3}})
"""
    for seed in "12":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / seed],
            check=True,
            env=environment,
            timeout=600,
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_modelfile_is_not_imported_with_xpnet() -> None:
    program = (
        "import sys, xpnet; "
        "print([m for m in sys.modules if m.startswith(('xpnet.modelfile', 'safetensors'))])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=600
    )
    assert found.stdout.strip() == "[]"
