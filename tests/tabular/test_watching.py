"""What a fit says while it works, and the callbacks of its networks."""

import re
from typing import Any

import numpy
import pytest
from sklearn.base import clone

import xpnet
from xpnet import TabularClassifier, TabularRegressor
from xpnet.tabular.ensemble import watching
from xpnet.training import Callback

SMALL: dict[str, Any] = {
    "members": 2,
    "networks": 3,
    "max_iter": 4,
    "random_state": 0,
    "backend": "numpy",
}
RNG = numpy.random.default_rng(0)
TABLE = {"x": RNG.normal(size=200), "same": numpy.ones(200)}
NUMBERS = TABLE["x"] ** 2


def test_verbose_prints_a_line_for_each_network(printed: pytest.CaptureFixture[str]) -> None:
    TabularRegressor(**SMALL, verbose=True).fit(TABLE, NUMBERS)
    out, err = printed.readouterr()
    first, *lines = out.splitlines()
    assert first == "left out  same: holds one value only"
    assert len(lines) == 3
    for number, line in enumerate(lines, 1):
        pattern = rf"network {number} 4 epochs, loss \S+, validation loss \S+, \d+ s"
        assert re.fullmatch(pattern, line)
    assert err == ""
    TabularRegressor(**SMALL).fit(TABLE, NUMBERS)
    assert printed.readouterr().out == ""


def test_verbose_prints_a_line_of_a_long_training_again_and_again(
    printed: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LINES", 0.0)
    TabularClassifier(**SMALL, verbose=1).fit(TABLE, NUMBERS > 1)
    lines = printed.readouterr().out.splitlines()
    assert sum(bool(re.match(r"network 2 epoch \d of 4, loss", line)) for line in lines) == 4


def test_two_prints_each_epoch(printed: pytest.CaptureFixture[str]) -> None:
    TabularClassifier(**SMALL, verbose=2).fit(TABLE, NUMBERS > 1)
    lines = printed.readouterr().out.splitlines()
    assert sum(bool(re.match(r"network 2 epoch \d of 4, loss", line)) for line in lines) == 4


def test_a_program_that_has_set_up_logging_gets_the_lines(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a level for them they are printed, and no handler gets them a second time."""
    with caplog.at_level("INFO", "xpnet"):
        TabularRegressor(**SMALL, verbose=True).fit(TABLE, NUMBERS)
    records = [record for record in caplog.records if record.name == "xpnet.fit"]
    assert [record.levelname for record in records] == ["INFO"] * 4
    assert records[0].getMessage() == "left out  same: holds one value only"
    assert capsys.readouterr() == ("", "")
    caplog.clear()
    caplog.set_level("WARNING", "xpnet")
    TabularRegressor(**SMALL, verbose=True).fit(TABLE, NUMBERS)
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert caplog.records == []


def test_callbacks_are_called_by_the_trainings_of_all_networks() -> None:
    losses = []

    def note(training: Any) -> None:
        losses.append(training.history.validation_loss[-1])

    model = TabularRegressor(**SMALL).fit(TABLE, NUMBERS, callbacks=[note])
    expected = [loss for network in model.networks_ for loss in network.history.validation_loss]
    assert losses == expected
    assert len(losses) == 12


class StopAfter(Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch_end(self, training: Any) -> None:
        training.stop = training.done >= self.epochs


def test_a_function_returns_the_callbacks_of_each_network() -> None:
    model = TabularClassifier(**SMALL, n_jobs=2)
    model.fit(TABLE, NUMBERS > 1, callbacks=lambda number: [StopAfter(number + 1)])
    assert [network.history.epochs for network in model.networks_] == [1, 2, 3]


@pytest.mark.wrong_types
def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(xpnet.InputError, match="callbacks.*'print'"):
        TabularRegressor(**SMALL).fit(TABLE, NUMBERS, callbacks=["print"])


CODES = RNG.permutation(numpy.resize(numpy.arange(30), 600))
LEVELS = RNG.normal(size=30)


@pytest.mark.parametrize("features", [["code"], [1], [False, True], numpy.array([False, True])])
def test_a_number_can_be_a_category(features: Any) -> None:
    """The level of each code is drawn, so that a network that takes it for a number learns less."""
    table = {"x": RNG.normal(size=600), "code": CODES}
    encoder = xpnet.TableEncoder(categorical_features=features).fit(table)
    names = encoder.get_feature_names_out().tolist()
    assert {f"code_{code}" for code in range(30)} <= set(names)
    numpy.testing.assert_equal(
        encoder.transform({"x": [0.0], "code": [3.0]}), encoder.transform({"x": [0], "code": ["3"]})
    )


def test_an_estimator_takes_numbers_for_categories_and_its_file_too(tmp_path: Any) -> None:
    X = numpy.column_stack([RNG.normal(size=600), CODES])
    y = LEVELS[CODES]
    settings = SMALL | {"networks": 1, "max_iter": 60, "hidden_layer_sizes": (64,), "backend": None}
    model = TabularRegressor(**settings, categorical_features=[1]).fit(X, y)
    assert model.score(X, y) > 0.95  # 0.90 where the codes are numbers
    model.save(tmp_path / "model.safetensors")
    opened = xpnet.load(tmp_path / "model.safetensors")
    assert opened.categorical_features == [1]
    assert opened.encoder_.categorical_features == [1]
    numpy.testing.assert_array_equal(opened.predict(X), model.predict(X))
    masked = clone(model).set_params(categorical_features=numpy.array([False, True])).fit(X, y)
    numpy.testing.assert_array_equal(masked.predict(X), model.predict(X))
    masked.save(tmp_path / "masked.safetensors")
    assert xpnet.load(tmp_path / "masked.safetensors").encoder_.categorical_features.tolist() == [
        False,
        True,
    ]


def test_from_dtype_is_auto() -> None:
    table = {"x": NUMBERS, "text": numpy.where(NUMBERS > 1, "a", "b")}
    names = [
        xpnet.TableEncoder(categorical_features=features).fit(table).get_feature_names_out()
        for features in ("auto", "from_dtype")
    ]
    numpy.testing.assert_array_equal(*names)


REFUSED = [
    (["cod"], "'cod'.*'code'"),
    ([2], "got 2"),
    ([-1], "got -1"),
    ([True], "mask of 1 columns for 2"),
    (["code", 7.5], "got '?7.5"),
    ("code", "categorical_features.*'code'"),
]


@pytest.mark.parametrize(("features", "message"), REFUSED)
def test_refused_categories(features: Any, message: str) -> None:
    with pytest.raises(xpnet.InputError, match=message):
        xpnet.TableEncoder(categorical_features=features).fit({"x": NUMBERS, "code": CODES[:200]})


def test_categories_of_an_own_encoder_are_its_own() -> None:
    model = TabularRegressor(**SMALL, encoder=xpnet.TableEncoder(), categorical_features=["x"])
    with pytest.raises(xpnet.InputError, match="categorical_features.*encoder"):
        model.fit(TABLE, NUMBERS)
