"""One table in several forms: zones, gaps, names of columns and types of values never change an
answer in silence.
"""

import re
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pyarrow.csv
import pytest

import xpnet
from xpnet import TableEncoder
from xpnet.errors import InputError

ROWS = 400
RNG = numpy.random.default_rng(0)
HOURS = RNG.integers(0, 24 * 300, ROWS)


def zoned(zone: str | None) -> pandas.Series:
    """The same instants, written in a time zone; None for the clock of UTC without a zone."""
    instants = pandas.Series(
        pandas.Timestamp("2024-01-01", tz="UTC") + pandas.to_timedelta(HOURS, "h")
    )
    return instants.dt.tz_convert(zone) if zone else instants.dt.tz_localize(None)


def from_csv(frame: pandas.DataFrame, folder: Path, reader: str) -> Any:
    """The frame as it comes back from its CSV file."""
    frame.to_csv(folder / "table.csv", index=False)
    if reader == "pandas":
        return pandas.read_csv(folder / "table.csv")
    return pyarrow.csv.read_csv(folder / "table.csv")


def test_the_same_instants_in_any_zone_are_encoded_the_same(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"when": zoned("America/Los_Angeles")})
    encoder = TableEncoder().fit(frame)
    wanted = encoder.transform(frame)
    forms = [
        pandas.DataFrame({"when": zoned("UTC")}),
        pandas.DataFrame({"when": zoned("Asia/Tokyo")}),
        pandas.DataFrame({"when": zoned("Asia/Tokyo").astype(object)}),
        polars.DataFrame({"when": zoned("Europe/Berlin")}),
        pyarrow.table({"when": pyarrow.array(zoned("Asia/Kolkata"))}),
        from_csv(frame, tmp_path, "pandas"),
        from_csv(frame, tmp_path, "pyarrow"),
    ]
    for table in forms:
        numpy.testing.assert_array_equal(encoder.transform(table), wanted)
        numpy.testing.assert_array_equal(TableEncoder().fit_transform(table), wanted)


def test_an_instant_is_read_on_the_clock_of_utc() -> None:
    aware = pandas.DataFrame({"when": zoned("America/Los_Angeles")})
    naive = pandas.DataFrame({"when": zoned(None)})  # the clock of UTC
    numpy.testing.assert_array_equal(
        TableEncoder().fit_transform(aware), TableEncoder().fit_transform(naive)
    )


@pytest.mark.parametrize(("trained", "later"), [("Asia/Tokyo", None), (None, "Asia/Tokyo")])
def test_timestamps_with_and_without_a_zone_are_not_mixed(
    trained: str | None, later: str | None, tmp_path: Path
) -> None:
    encoder = TableEncoder().fit({"when": zoned(trained)})
    frame = pandas.DataFrame({"when": zoned(later)})
    for table in (frame, from_csv(frame, tmp_path, "pandas"), from_csv(frame, tmp_path, "pyarrow")):
        with pytest.raises(xpnet.InputError, match=r"'when'.*time zone.*tz_localize"):
            encoder.transform(table)
    nothing = pandas.DataFrame({"when": zoned(later)[:3]})
    nothing["when"] = pandas.NaT
    assert numpy.isfinite(encoder.transform(nothing)).all()  # gaps have no clock


def test_empty_text_is_a_gap_as_in_a_csv_file(tmp_path: Path) -> None:
    words = numpy.array(["", "a", "b", "a"])[HOURS % 4]
    frame = pandas.DataFrame({"word": words})
    encoder = TableEncoder().fit(frame)
    assert encoder.get_feature_names_out().tolist() == ["word_a", "word_b", "word_missing"]
    wanted = numpy.stack([words == "a", words == "b", words == ""], axis=1)
    gaps = frame.replace("", None)
    for table in (frame, gaps, gaps.astype("category"), frame.astype("category")):
        numpy.testing.assert_array_equal(encoder.transform(table), wanted)
        numpy.testing.assert_array_equal(TableEncoder().fit_transform(table), wanted)
    read = from_csv(frame.assign(more=1), tmp_path, "pandas")
    numpy.testing.assert_array_equal(encoder.transform(read), wanted)


def test_dates_as_text_may_have_empty_text_among_them() -> None:
    text = zoned(None).dt.strftime("%Y-%m-%d")
    text[:5] = ""
    dates = pandas.to_datetime(text.replace("", None))
    numpy.testing.assert_array_equal(
        TableEncoder().fit_transform({"day": text}), TableEncoder().fit_transform({"day": dates})
    )


def test_names_of_several_types_are_refused_as_in_scikit_learn() -> None:
    x = RNG.normal(size=(30, 2))
    with pytest.raises(TypeError, match=r"'int', 'str'.*columns\.astype\(str\)"):
        TableEncoder().fit(pandas.DataFrame(dict(zip([0, "x"], x.T, strict=True))))


@pytest.mark.parametrize("names", [[0, 1], [7, 3], [2.0, 5.0], [("a", 1), ("a", 2)]], ids=str)
def test_columns_whose_names_are_not_text_are_found_by_name(names: list[Any]) -> None:
    x = RNG.normal(size=(30, 2))
    frame = pandas.DataFrame(x)
    frame.columns = pandas.Index(names, tupleize_cols=False)
    encoder = TableEncoder().fit(frame)
    wanted = encoder.transform(frame)
    numpy.testing.assert_array_equal(encoder.transform(frame[names[::-1]]), wanted)
    numpy.testing.assert_array_equal(encoder.transform(x), wanted)  # an array is read by position
    with pytest.raises(xpnet.InputError, match="missing"):
        encoder.transform(frame.rename(columns={names[0]: 99}))


def test_a_frame_for_an_encoder_of_arrays_is_read_by_position_with_a_warning() -> None:
    x = RNG.normal(size=(30, 2))
    encoder = TableEncoder().fit(x)
    with pytest.warns(UserWarning, match="without"):
        encoded = encoder.transform(pandas.DataFrame(x, columns=["a", "b"]))
    numpy.testing.assert_array_equal(encoded, encoder.transform(x))


def test_categories_of_floats_are_those_of_their_csv_file(tmp_path: Path) -> None:
    halves = pandas.Categorical(HOURS % 5 / 2)  # 0.0, 0.5, 1.0, 1.5, 2.0
    frame = pandas.DataFrame({"half": halves})
    encoder = TableEncoder().fit(frame)
    wanted = encoder.transform(frame)
    assert (wanted.sum(axis=1) == 1).all()
    frame.to_csv(tmp_path / "table.csv", index=False)
    as_text = pandas.read_csv(tmp_path / "table.csv", dtype=str)
    assert "1.0" in set(as_text["half"])
    numpy.testing.assert_array_equal(encoder.transform(as_text), wanted)
    numpy.testing.assert_array_equal(
        TableEncoder().fit(as_text).transform(frame), TableEncoder().fit_transform(as_text)
    )


def test_numbers_as_text_that_differ_in_training_stay_different() -> None:
    codes = numpy.array(["01", "1", "1.0", "2"] * 30)
    encoder = TableEncoder().fit({"code": codes})
    assert encoder.transform({"code": codes[:4]}).tolist() == numpy.eye(4).tolist()
    assert not encoder.transform({"code": numpy.array(["2.00", "02", "2.5"])}).any()


@pytest.mark.parametrize("dtype", ["int64", "uint64", "Int64", "int64[pyarrow]"])
def test_whole_numbers_that_float64_merges_are_categories(dtype: str) -> None:
    account = 2**60 + pandas.Series(HOURS % 3)
    frame = pandas.DataFrame({"account": account.astype(dtype)})
    encoded = TableEncoder().fit_transform(frame)
    order = numpy.argsort(-numpy.bincount(HOURS % 3), kind="stable")
    numpy.testing.assert_array_equal(encoded, (HOURS % 3)[:, None] == order)
    text = frame.astype(str)
    numpy.testing.assert_array_equal(TableEncoder().fit(frame).transform(text), encoded)


def test_large_whole_numbers_that_float64_holds_stay_numbers() -> None:
    x = (HOURS % 7).astype("uint64") * 2**61
    numpy.testing.assert_array_equal(
        TableEncoder().fit_transform({"x": x}), TableEncoder().fit_transform({"x": x.astype(float)})
    )


def test_large_row_numbers_are_left_out_for_the_true_reason() -> None:
    frame = {"x": RNG.normal(size=60), "row": 2**60 + numpy.arange(60)}
    reason = TableEncoder().fit(frame).left_out_["row"]
    assert "2^53" in reason


@pytest.mark.parametrize("kind", ["matrix", "column", "integers", "text", "dates"])
def test_the_mask_of_an_array_says_where_gaps_are(kind: str) -> None:
    x, mask = RNG.normal(size=(60, 2)), numpy.zeros((60, 2), bool)
    mask[::7, 0] = True
    holes = numpy.where(mask, numpy.nan, x)
    table: Any = numpy.ma.masked_array(numpy.where(mask, 999.0, x), mask)
    wanted: Any = holes
    if kind == "column":
        table, wanted = {"a": table[:, 0]}, {"a": holes[:, 0]}
    if kind == "integers":
        whole = HOURS[:60] % 9
        table = {"a": numpy.ma.masked_array(whole, mask[:, 0])}
        wanted = {"a": numpy.where(mask[:, 0], numpy.nan, whole)}
    if kind == "text":
        words = numpy.array(["a", "b", "c"])[HOURS[:60] % 3]
        table = {"a": numpy.ma.masked_array(words, mask[:, 0])}
        wanted = {"a": numpy.where(mask[:, 0], None, words)}
    if kind == "dates":
        days = zoned(None).to_numpy()[:60]
        table = {"a": numpy.ma.masked_array(days, mask[:, 0])}
        wanted = {"a": numpy.where(mask[:, 0], numpy.datetime64("NaT"), days)}
    encoder = TableEncoder().fit(table)
    assert any("missing" in name for name in encoder.get_feature_names_out())
    numpy.testing.assert_array_equal(encoder.transform(table), TableEncoder().fit_transform(wanted))


def test_durations_are_read_from_the_csv_file_of_their_frame(tmp_path: Path) -> None:
    seconds = RNG.integers(-(10**12), 10**15, ROWS) * 1000  # nanoseconds
    frame = pandas.DataFrame({"lasted": pandas.to_timedelta(seconds, "ns")})
    frame.loc[3, "lasted"] = pandas.NaT
    whole = pandas.DataFrame({"lasted": pandas.to_timedelta(HOURS // 24, "D")})
    for table in (frame, whole):
        encoder = TableEncoder().fit(table)
        for reader in ("pandas", "pyarrow", "coded"):
            read = from_csv(table.assign(more=1.0), tmp_path, reader.replace("coded", "pandas"))
            if reader == "coded":
                read["lasted"] = read["lasted"].astype("category")
            numpy.testing.assert_array_equal(encoder.transform(read), encoder.transform(table))
            if reader == "coded":  # a type for categories stays one in training
                continue
            learned = TableEncoder().fit(read)
            numpy.testing.assert_array_equal(
                learned.transform(table.assign(more=1.0)), encoder.transform(table)
            )
    with pytest.raises(xpnet.InputError, match=r"'lasted'.*numbers.*'soon'"):
        encoder.transform({"lasted": numpy.array(["3 days", "soon"])})


def test_text_that_is_not_unicode_is_refused_with_the_name_of_its_column() -> None:
    for words in (
        numpy.array(["\ud800", "b"]),
        numpy.array(["\ud800", "b"], dtype=object),
        ["\ud800", "b"],
    ):
        with pytest.raises(xpnet.InputError, match=r"ud800.*'word'"):
            TableEncoder().fit({"word": words})


def test_messages_about_many_columns_are_short() -> None:
    names = [f"c{k}" for k in range(500)]
    same = pandas.DataFrame(numpy.ones((60, 500)), columns=names)
    with pytest.raises(xpnet.InputError, match=r"c0.*one value.*490 more") as raised:
        TableEncoder().fit(same)
    assert len(str(raised.value)) < 1500
    encoder = TableEncoder().fit(same * RNG.normal(size=(60, 1)))
    with pytest.raises(xpnet.InputError, match=r"'c0'.*489 more.*'other'") as raised:
        encoder.transform(pandas.DataFrame({"other": [1.0], "c1": [2.0]}))
    assert len(str(raised.value)) < 1500


def test_many_classes_and_many_values_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = numpy.random.default_rng(0)
    rows, classes, values = 4000, 400, 1500
    table = {"k": rng.integers(0, values, rows).astype(str)}
    y = rng.integers(0, classes, rows)
    encoder = TableEncoder(task="classification", random_state=0)
    monkeypatch.setattr("xpnet.tabular.encodings.value_effect.MAX_TARGET_NUMBERS", 1 << 18)
    at_once = encoder.fit_transform(table, y)
    monkeypatch.setattr("xpnet.tabular.encodings.target_means.MEANS_AT_ONCE", 1 << 18)
    tracemalloc.start()
    encoder.fit(table, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kept = 4 * classes * (rows + values)  # means of each value and of the rows, in float32
    assert peak < 3 * kept
    numpy.testing.assert_array_equal(encoder.fit_transform(table, y), at_once)


def test_means_of_many_classes_are_those_of_each_class_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A target of too many classes to compare has ten prior rows."""
    monkeypatch.setattr("xpnet.tabular.encodings.value_effect.MAX_TARGET_NUMBERS", 1000)
    rng = numpy.random.default_rng(0)
    town = rng.permutation(numpy.repeat(numpy.arange(60), 15))
    y = rng.permutation(900) % 300
    encoder = TableEncoder(task="classification", random_state=0)
    encoder.fit({"town": town.astype(str)}, y)
    (category,) = encoder.encodings_
    assert category.frequent == 0
    indices = [category.values.index(str(t)) for t in range(60)]
    for label in (1, 150, 299):
        of_class = y == label
        means = [(of_class[town == t].sum() + 10 * of_class.mean()) / 25 for t in range(60)]
        assert numpy.corrcoef(category.details[indices, label], means)[0, 1] == pytest.approx(
            1, abs=1e-5
        )


def test_a_zone_is_kept_in_files_and_told_in_errors(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"when": zoned("America/Los_Angeles"), "a": RNG.normal(size=ROWS)})
    label = numpy.where(zoned("America/Los_Angeles").dt.hour < 12, "am", "pm")
    settings: dict[str, Any] = {
        "hidden_layer_sizes": (16,),
        "max_iter": 5,
        "networks": 1,
        "random_state": 0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = xpnet.TabularClassifier(**settings).fit(frame, label)
    model.save(tmp_path / "m.safetensors")
    again = xpnet.load(tmp_path / "m.safetensors")
    for zone in ("UTC", "Asia/Tokyo"):
        same = frame.assign(when=zoned(zone))
        numpy.testing.assert_array_equal(again.predict_proba(same), model.predict_proba(frame))
    with pytest.raises(xpnet.InputError, match=r"'when'.*time zone"):
        again.predict(frame.assign(when=zoned(None)))


@pytest.mark.parametrize("text", ["$-5-", "($-5)", "($5", "-$-5", "$1,234", "\u20ac5"])
def test_text_that_is_no_number_of_its_column_is_refused(text: str) -> None:
    prices = ["$1.5", "$2.5", "($3.5)", "$4.5", "$5.5", "$6.5"] * 4
    encoder = TableEncoder().fit({"price": prices})
    numpy.testing.assert_array_equal(
        encoder.transform({"price": ["($3.5)", "(5)", "$5"]}),
        encoder.transform({"price": ["$-3.5", "-5", "+5"]}),
    )
    with pytest.raises(InputError, match=re.escape(text)):
        encoder.transform({"price": [text]})


def test_times_of_a_zone_are_words_of_utc_where_a_column_is_one_of_words() -> None:
    moments = pandas.date_range("2024-05-01", periods=3, freq="D", tz="Europe/Rome")
    column = pandas.Series(moments[[0, 1, 2] * 4])
    names = TableEncoder(categorical_features=["x"]).fit(pandas.DataFrame({"x": column}))
    assert "x_2024-04-30 22:00:00+00:00" in list(names.get_feature_names_out())
