"""What must hold for any bytes: each function takes those of a fuzzer, and fails by an exception.

``python -m fuzz.run NAME`` runs one under a fuzzer that is guided by coverage; test_corpus.py runs
all over the files of the folder ``corpus``.
"""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from fuzz.decoding import ROWS, Reader, Table, network, table, targets
from helpers import damage
from helpers.c_program import compiled
from helpers.damaged_data import check_text
from helpers.data_files import look

import xpnet
from xpnet.data.cells.forms import ColumnForm
from xpnet.errors import DataFileError
from xpnet.modelfile import export_model
from xpnet.modelfile.checkpoint import read_checkpoint
from xpnet.modelfile.column_inputs import ColumnInput, column_inputs
from xpnet.modelfile.networks import Exported
from xpnet.modelfile.onnx_graph import write_onnx
from xpnet.models import Network

QUICK: dict[str, Any] = {
    "hidden_layer_sizes": (3,),
    "members": 1,
    "networks": 1,
    "max_iter": 2,
    "random_state": 0,
    "backend": "numpy",
    "refit": False,
}
Passed: TypeAlias = float | str | None
"""A value as a program passes it to an exported file; None for a gap."""
TOLERANCE = 1e-4
"""Relative difference of two implementations that both compute in float32."""


def model_file(content: bytes) -> None:
    """A model file is refused, or opens as a model that predicts, and is saved to the same."""
    _check_file(_sealed(content), _open_model)


def checkpoint(content: bytes) -> None:
    """A checkpoint is refused, or opens."""
    _check_file(_sealed(content), read_checkpoint)


def _sealed(content: bytes) -> bytes:
    """Return a file under checksums that hold, where it has the form of one."""
    try:
        entries, envelope, data = damage.unpack(content)
        return damage.pack(entries, damage.seal(entries, envelope, data), data)
    except Exception:  # of any kind: the bytes of a fuzzer have any form
        return content


def _check_file(content: bytes, opener: Callable[[Path], Any]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file.safetensors"
        path.write_bytes(content)
        try:
            opened = opener(path)
        except xpnet.ModelFileError as error:
            assert str(error)
            return
        if opener is _open_model:
            opened.save(path)
            again = _open_model(path)
            same = [_parameters(model) for model in (opened, again)]
            assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(*same, strict=True))


def _open_model(path: Path) -> Any:
    return xpnet.load(path, backend="numpy")


def _parameters(model: Any) -> list[Any]:
    networks = getattr(model, "networks_", [model])
    if hasattr(model, "coefs_"):
        return [*model.coefs_, *model.intercepts_]
    return [array for network in networks for array in network.params.to_host().values()]


def csv_text(content: bytes) -> None:
    """Text is a table with the rows and words that Python's reader sees, or one line of error."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        path.write_bytes(content)
        try:
            opened = look(path)
        except DataFileError as error:
            assert path.name in str(error)
            assert len(str(error)) < 1000
            return
        assert opened.frame.rows == len(opened.labelled)
        check_text(opened, content)


def onnx_network(content: bytes) -> None:
    """An ONNX file of a network computes what the network computes."""
    reader = Reader(content)
    spec, values = network(reader)
    X = _rows(reader, spec.widths[0]).astype(spec.dtype)
    expected = Network(spec, values, 0.1, backend="numpy", dtype=spec.dtype).predict(X)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_onnx(path, Exported(spec, [values]))
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (predicted,) = session.run(None, {"X": X})
    _assert_close(predicted, expected)


def _rows(reader: Reader, columns: int) -> np.ndarray:
    numbers = [reader.integer(-300, 300) / 50 for _ in range(5 * columns)]
    return np.array(numbers).reshape(5, columns)


def _assert_close(predicted: np.ndarray, expected: np.ndarray) -> None:
    scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
    np.testing.assert_allclose(
        predicted.reshape(expected.shape), expected, rtol=TOLERANCE, atol=TOLERANCE * scale
    )


def onnx_table(content: bytes) -> None:
    """An ONNX file of a tabular estimator predicts what the estimator predicts."""
    model, questions = _fitted(content)
    if model is None:
        return
    expected = _predicted(model, questions)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table.onnx"
        export_model(model, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]
        feed = _feed(session, dict(zip(questions, _passed(model, questions), strict=True)))
        answers = dict(zip(outputs, session.run(None, feed), strict=True))
    _assert_close(answers.get("probabilities", answers.get("predictions")), expected)


def c_table(content: bytes) -> None:
    """A C file of a tabular estimator predicts what the estimator predicts."""
    model, questions = _fitted(content)
    if model is None:
        return
    expected = _predicted(model, questions)
    rows = [list(row) for row in zip(*_passed(model, questions), strict=True)]
    with TemporaryDirectory() as folder:
        predicted = compiled(model, rows, expected.shape[1], Path(folder))
    _assert_close(predicted, expected)


def _fitted(content: bytes) -> tuple[Any, Table]:
    """Return a tabular estimator and rows to predict; None where the table teaches nothing."""
    reader = Reader(content)
    learned, y = table(reader), targets(reader)
    kind = xpnet.TabularRegressor if y.dtype.kind == "f" else xpnet.TabularClassifier
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = kind(**QUICK).fit(learned, y)
    except xpnet.InputError:
        return None, {}
    order = np.array([reader.integer(0, ROWS - 1) for _ in range(ROWS)])
    return model, {name: values[order] for name, values in learned.items()}


def _predicted(model: Any, questions: Table) -> np.ndarray:
    method = "predict_proba" if hasattr(model, "classes_") else "predict"
    return np.asarray(getattr(model, method)(questions)).reshape(ROWS, -1)


def _passed(model: Any, questions: Table) -> list[list[Passed]]:
    """Return the values of each column as a program passes them to an exported file."""
    encoder = model.encoder_
    return [
        _passed_values(values, described, encoder.forms_.get(place))
        for place, (described, values) in enumerate(
            zip(column_inputs(encoder), questions.values(), strict=True)
        )
    ]


def _passed_values(
    column: np.ndarray, described: ColumnInput, form: ColumnForm | None
) -> list[Passed]:
    """Return the values of a column: numbers, text, None for gaps.

    A file takes text in columns of text alone. In the others text stands for what the column holds:
    a number, or a date as seconds.
    """
    if column.dtype.kind == "M":
        seconds = column.astype("M8[s]").astype(float)
        return [
            None if gap else value for gap, value in zip(np.isnat(column), seconds, strict=True)
        ]
    if column.dtype.kind != "O":
        return [None if math.isnan(value) else float(value) for value in column.astype(float)]
    if described.is_text:
        return [value if value is None else str(value) for value in column]
    if form is None or not described.is_used:
        return [None] * len(column)
    unit = 1e6 if form.kind in ("date", "time") else 1.0  # forms read moments as microseconds
    numbers = form.read(["" if value is None else str(value) for value in column]).values / unit
    return [None if math.isnan(value) else float(value) for value in numbers]


def _feed(session: Any, questions: dict[str, list[Passed]]) -> dict[str, np.ndarray]:
    """Return the inputs of an ONNX file, each (rows, 1), or one matrix of all columns."""
    inputs = session.get_inputs()
    if [given.name for given in inputs] == ["X"]:
        return {"X": np.column_stack([_floats(values) for values in questions.values()])}
    feed: dict[str, np.ndarray] = {}
    for given in inputs:
        values = questions[given.name]
        if given.type == "tensor(string)":
            texts = ["" if value is None else str(value) for value in values]
            feed[given.name] = np.array(texts, dtype=object)[:, None]
        else:
            feed[given.name] = _floats(values)[:, None]
    return feed


def _floats(values: list[Passed]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def encoder(content: bytes) -> None:
    """Encoded rows are finite, have the columns that are named, and do not depend on each other."""
    reader = Reader(content)
    learned, y = table(reader), targets(reader)
    binning = reader.choice(["quantile", "tree"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoding = xpnet.TableEncoder(binning=binning, random_state=0).fit(learned, y)
    except xpnet.InputError:
        return
    encoded = encoding.transform(learned)
    assert encoded.shape == (ROWS, len(encoding.get_feature_names_out()))
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    order = np.array([reader.integer(0, ROWS - 1) for _ in range(ROWS // 2)])
    some_rows = {name: values[order] for name, values in learned.items()}
    np.testing.assert_array_equal(encoding.transform(some_rows), encoded[order])


HARNESSES: dict[str, Callable[[bytes], None]] = {
    harness.__name__: harness
    for harness in (
        model_file,
        checkpoint,
        csv_text,
        onnx_network,
        onnx_table,
        c_table,
        encoder,
    )
}
"""Each harness by its name, which is also that of its folder of the corpus."""
