"""Models of every kind, as a command knows them."""

from types import SimpleNamespace
from typing import Any

import numpy
import pyarrow
import pyarrow.csv
import pytest
from helpers.command_line import Run

import xpnet
from xpnet.cli import table_model
from xpnet.cli.table_model import TableModel

RNG = numpy.random.default_rng(0)
X = RNG.normal(size=(60, 3))
TABLE = pyarrow.table({name: X[:, place] for place, name in enumerate("abc")})
SMALL: dict[str, Any] = {"max_iter": 2, "random_state": 0}


def network(outputs: int = 1, loss: str = "squared_error") -> xpnet.FeedforwardNeuralNet:
    """An untrained network of three inputs, with weights of its own."""
    return xpnet.FeedforwardNeuralNet(3, 4, outputs, loss=loss, rng=0)


def test_a_network_of_numbers_predicts_one_or_several() -> None:
    one, two = network(), network(2)
    outputs = TableModel(one).outputs_of(TABLE, {})
    assert outputs.shape == (60,)
    numpy.testing.assert_array_equal(outputs, one.predict(X)[:, 0])
    numpy.testing.assert_array_equal(TableModel(two).outputs_of(TABLE, {}), two.predict(X))
    assert (TableModel(one).outputs, TableModel(two).outputs) == (1, 2)
    assert TableModel(one).loss == table_model.NumericLoss("squared_error", ())
    assert TableModel(one).classes is None


def test_a_network_of_classes_predicts_their_indices() -> None:
    model = network(4, "softmax_cross_entropy")
    opened = TableModel(model)
    assert opened.classes == [0, 1, 2, 3]
    assert opened.loss is None and opened.outputs == 1
    numpy.testing.assert_array_equal(opened.outputs_of(TABLE, {}), model.predict(X))


def test_several_targets_of_classes_are_refused() -> None:
    model = SimpleNamespace(classes_=[numpy.array([0, 1])] * 2, extra={}, n_outputs_=2)
    model.out_activation_ = "logistic"
    with pytest.raises(xpnet.InputError, match="one target of classes"):
        TableModel(model)


def test_values_that_a_model_does_not_take_are_told_as_such() -> None:
    with pytest.raises(xpnet.InputError, match=r"does not take these values: .*3"):
        TableModel(network()).outputs_of(TABLE.select(["a", "b"]), {})


def test_rows_are_encoded_once_where_a_model_has_an_encoder_and_they_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {name: X[:, place] for place, name in enumerate("abc")}
    model = xpnet.TabularRegressor(members=1, networks=1, **SMALL).fit(table, X[:, 0])
    opened = TableModel(model)
    encoded = opened.encoded_table(TABLE, {})
    assert encoded is not None
    outputs = opened.outputs_of_input(encoded, len(X))
    numpy.testing.assert_array_equal(outputs, opened.outputs_of(TABLE, {}))
    width = model.networks_[0].spec.widths[0]
    monkeypatch.setattr(table_model, "MAX_ENCODED_NUMBERS", 60 * width)
    assert opened.encoded_table(TABLE, {}) is not None
    monkeypatch.setattr(table_model, "MAX_ENCODED_NUMBERS", 60 * width - 1)
    assert opened.encoded_table(TABLE, {}) is None
    assert TableModel(network()).encoded_table(TABLE, {}) is None


MODELS = {
    "network": lambda: network(),
    "estimator": lambda: xpnet.MLPRegressor(
        hidden_layer_sizes=(2,), solver="lbfgs", tol=9.0, random_state=0
    ).fit(X, X[:, 0]),
    "array": lambda: xpnet.TabularRegressor(members=1, networks=1, **SMALL).fit(X, X[:, 0]),
    "table": lambda: xpnet.TabularRegressor(members=1, networks=1, **SMALL).fit(
        {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2]}, X[:, 0]
    ),
}
"""Models of three inputs, of each kind that a file holds."""


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_is_warm_after_one_row_and_many(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS[kind]()
    predict, sizes = type(model).predict, []

    def note(own: Any, rows: Any) -> Any:
        predictions = predict(own, rows)
        sizes.append(len(predictions))
        assert numpy.isfinite(predictions).all()
        return predictions

    monkeypatch.setattr(type(model), "predict", note)
    TableModel(model).warm_up()
    assert sizes == [1, 16384]


def test_intervals_are_for_a_model_of_tables_that_predicts_one_number(run: Run) -> None:
    several = xpnet.TabularRegressor(members=1, networks=1, **SMALL).fit(X, X[:, :2])
    pyarrow.csv.write_csv(TABLE, "d.csv")
    for model in (several, MODELS["estimator"]()):
        model.save("m")
        said = run("predict", "m", "d.csv", "--interval", "0.5", code=2).stderr
        assert "--interval must go with a model of tables that predicts one number" in said
    MODELS["array"]().save("m")
    lines = run("predict", "m", "d.csv", "--interval", "0.5").stdout.splitlines()
    assert [line.count(",") for line in lines] == [2] * 61


@pytest.mark.parametrize("columns", [8, 10])
def test_some_columns_with_values_unlike_the_training_are_named_and_the_others_counted(
    run: Run, columns: int
) -> None:
    words = RNG.choice(["p", "q"], (60, columns))
    table = {f"c{k}": words[:, k] for k in range(columns)}
    xpnet.TabularRegressor(members=1, networks=1, **SMALL).fit(table, X[:, 0]).save("m")
    others = {name: ["p", "z", "z", *cells[3:]] for name, cells in table.items()}
    pyarrow.csv.write_csv(pyarrow.table(others), "d.csv")
    notes = [line for line in run("predict", "m", "d.csv").stderr.splitlines() if "Note" in line]
    named = [line for line in notes if "2 values that are not in the training rows" in line]
    assert len(named) == 8 and all("of 60 rows" in line for line in named)
    assert notes[8:] == ["Note: 2 more columns have such values"][: columns - 8]
