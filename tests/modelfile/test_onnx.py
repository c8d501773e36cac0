"""ONNX files compute in onnxruntime what the model computes."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.modelfile import onnx_graph
from xpnet.modelfile.networks import Exported
from xpnet.modelfile.onnx_graph import write_onnx
from xpnet.models import Network
from xpnet.ops import ACTIVATIONS

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

# Two implementations of the same formula differ by the rounding of sums over at most 9 terms and of
# exp.
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


def run(path: Path, X: Any) -> dict[str, Any]:
    """What onnxruntime makes of the rows, by the names of the outputs."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"X": X}), strict=True))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_network(tmp_path: Path, rng: np.random.Generator, dtype: str, activation: Any) -> None:
    model: Network = xpnet.FeedforwardNeuralNet(
        5, (9, 7), 4, activation=activation, dropout=0.5, dtype=dtype, backend="numpy", rng=rng
    )
    model.export_onnx(tmp_path / "model.onnx")
    for rows in (0, 1, 20):
        X = rng.normal(size=(rows, 5)).astype(dtype)
        found = run(tmp_path / "model.onnx", X)["probabilities"]
        np.testing.assert_allclose(
            found, model.predict(X), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], strict=True
        )


@pytest.mark.parametrize("scales", ["all", "first"])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
def test_members(
    tmp_path: Path, rng: np.random.Generator, dtype: str, loss: Any, scales: Any
) -> None:
    spec = NetworkSpec(
        (5, 7, 6, 3), ("relu", "tanh"), loss, dtype=dtype, members=4, member_scales=scales
    )
    values = {slot.name: rng.normal(size=slot.shape).astype(dtype) for slot in spec.slots()}
    model, X = (
        Network(spec, values, 0.1, backend="numpy", dtype=dtype),
        rng.normal(size=(20, 5)).astype(dtype),
    )
    write_onnx(tmp_path / "model", Exported(spec, [values]))
    (found,) = run(tmp_path / "model", X).values()
    np.testing.assert_allclose(
        found, model.predict(X), rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype], strict=True
    )


def test_logistic_regression(tmp_path: Path, rng: np.random.Generator) -> None:
    model = xpnet.LogisticRegression(3, 2, backend="numpy")
    model.params["W"] = rng.normal(size=(3, 2))
    model.export_onnx(tmp_path / "model.onnx")
    X = rng.normal(size=(8, 3))
    np.testing.assert_allclose(
        run(tmp_path / "model.onnx", X)["probabilities"], model.predict(X), rtol=1e-14
    )


def labelled(
    path: Path, rng: np.random.Generator, out: int, loss: Any, classes: Any
) -> tuple[Any, dict[str, Any]]:
    """A network without hidden layers with labels in its graph: its logits, and what onnxruntime
    makes of the rows.
    """
    spec = NetworkSpec(widths=(3, out), activations=(), loss=loss)
    W, b, X = rng.normal(size=(3, out)), rng.normal(size=out), rng.normal(size=(20, 3))
    write_onnx(path, Exported(spec, [{"W1": W, "b1": b}], classes))
    return X @ W + b, run(path, X)


def test_labels_of_several_classes(tmp_path: Path, rng: np.random.Generator) -> None:
    for classes in (
        np.array(["a", "b", "é"]),
        np.array([3, 5, 7]),
        np.array(["x", "y", "z"], dtype=object),
    ):
        logits, found = labelled(tmp_path / "model", rng, 3, "softmax_cross_entropy", classes)
        assert found["label"].tolist() == classes[logits.argmax(axis=1)].tolist()


def test_labels_of_two_classes_with_one_output(tmp_path: Path, rng: np.random.Generator) -> None:
    logits, found = labelled(
        tmp_path / "model", rng, 1, "logistic_cross_entropy", np.array(["no", "yes"])
    )
    positive = 1 / (1 + np.exp(-logits))
    assert found["label"].tolist() == np.where(logits[:, 0] > 0, "yes", "no").tolist()
    np.testing.assert_allclose(
        found["probabilities"], np.hstack([1 - positive, positive]), rtol=1e-13
    )


def test_a_single_class(tmp_path: Path, rng: np.random.Generator) -> None:
    _, found = labelled(tmp_path / "model", rng, 1, "logistic_cross_entropy", np.array(["only"]))
    assert set(found["label"]) == {"only"}


def test_several_labels_a_row(tmp_path: Path, rng: np.random.Generator) -> None:
    logits, found = labelled(tmp_path / "model", rng, 3, "logistic_cross_entropy", np.arange(3))
    np.testing.assert_array_equal(found["label"], (logits > 0).astype(np.int64), strict=True)


@pytest.mark.parametrize(
    ("classes", "received"),
    [
        (np.array([3, 2**64 - 1], np.uint64), "18446744073709551615"),
        (np.array([0.5, 1.5]), "float"),
    ],
)
def test_labels_that_onnx_cannot_hold_are_refused(
    tmp_path: Path, rng: np.random.Generator, classes: Any, received: str
) -> None:
    with pytest.raises(xpnet.InputError, match=received):
        labelled(tmp_path / "model", rng, 2, "softmax_cross_entropy", classes)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("loss", "link"), [("squared_error", np.positive), ("poisson", np.exp)])
def test_regression(tmp_path: Path, rng: np.random.Generator, loss: str, link: Any) -> None:
    logits, found = labelled(tmp_path / "model", rng, 2, loss, None)
    np.testing.assert_allclose(found["predictions"], link(logits), rtol=1e-13)


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        xpnet.LogisticRegression(3, 2, backend="numpy").export_onnx(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_without_onnx_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(xpnet.ModelFileError, match=r"pip install 'xpnet\[onnx\]'"):
        xpnet.LogisticRegression(3, 2, backend="numpy").export_onnx(tmp_path / "model.onnx")


def test_what_onnx_cannot_hold_is_refused_at_once(tmp_path: Path) -> None:
    spec = NetworkSpec(widths=(2**15, 2**15), activations=())
    with pytest.raises(xpnet.ModelFileError, match="at most 2 GiB"):
        write_onnx(tmp_path / "model.onnx", Exported(spec, [{}]))
    model = xpnet.LogisticRegression(3, 2, backend="numpy")
    with pytest.raises(xpnet.ModelFileError, match="No such file"):
        model.export_onnx(tmp_path / "missing" / "model.onnx")


def test_the_size_of_a_file_counts_all_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert onnx_graph.MAX_FILE_BYTES == 2146435072
    spec = NetworkSpec(widths=(3, 2), activations=())
    values = {"W1": np.ones((3, 2)), "b1": np.ones(2)}  # 64 bytes in float64
    for networks in (1, 3):
        exported = Exported(spec, [values] * networks)
        monkeypatch.setattr(onnx_graph, "MAX_FILE_BYTES", 64 * networks)
        write_onnx(tmp_path / "model", exported)
        monkeypatch.setattr(onnx_graph, "MAX_FILE_BYTES", 64 * networks - 1)
        with pytest.raises(xpnet.ModelFileError, match="at most 2 GiB"):
            write_onnx(tmp_path / "model", exported)


def test_the_largest_label(tmp_path: Path, rng: np.random.Generator) -> None:
    classes = np.array([3, 2**63 - 1], np.uint64)
    logits, found = labelled(tmp_path / "model", rng, 2, "softmax_cross_entropy", classes)
    assert found["label"].tolist() == classes[logits.argmax(axis=1)].tolist()


def test_the_table_of_a_category_has_a_row_for_each_value_unknown_and_gap(tmp_path: Path) -> None:
    encoder = xpnet.TableEncoder(min_frequency=1).fit({"word": ["a", "b", "c", None] * 10})
    graph = onnx_graph.Graph(onnx)
    onnx_graph.encode_table(graph, encoder)
    tables = [onnx.numpy_helper.to_array(one) for one in graph.proto.initializer]
    (rows,) = (table for table in tables if table.dtype == np.float32)
    wanted = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(rows, wanted)


def test_the_versions_are_of_2022(tmp_path: Path, rng: np.random.Generator) -> None:
    labelled(tmp_path / "model", rng, 2, "softmax_cross_entropy", np.array(["a", "b"]))
    model = onnx.load(tmp_path / "model")
    versions = {one.domain: one.version for one in model.opset_import}
    assert (model.ir_version, versions) == (8, {"": 17})
    encoder = xpnet.TableEncoder(min_frequency=1).fit({"word": ["a", "b"] * 10})
    graph = onnx_graph.Graph(onnx)
    graph.output(onnx_graph.encode_table(graph, encoder), "out", "float32", 2)
    onnx_graph.write_graph(tmp_path / "model", graph)
    model = onnx.load(tmp_path / "model")
    versions = {one.domain: one.version for one in model.opset_import}
    assert (model.ir_version, versions) == (8, {"": 17, "ai.onnx.ml": 3})


def test_several_quantiles_rise(tmp_path: Path, rng: np.random.Generator) -> None:
    spec = NetworkSpec((3, 2), (), loss="quantile", loss_numbers=(0.2, 0.8))
    W, b, X = rng.normal(size=(3, 2)), rng.normal(size=2), rng.normal(size=(20, 3))
    write_onnx(tmp_path / "model", Exported(spec, [{"W1": W, "b1": b}]))
    outputs = run(tmp_path / "model", X)["predictions"]
    np.testing.assert_allclose(outputs, np.sort(X @ W + b, axis=1), rtol=1e-13)
    nodes = onnx.load(tmp_path / "model").graph.node
    (attributes,) = (node.attribute for node in nodes if node.op_type == "TopK")
    assert {one.name: one.i for one in attributes} == {"axis": 1, "largest": 0}
