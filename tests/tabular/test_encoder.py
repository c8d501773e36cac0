"""The encoder of tables against what each encoding says of itself, on frames of several
libraries.
"""

import datetime
import pickle
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import xpnet
from xpnet import TableEncoder

ROWS = 400


@pytest.fixture
def frame() -> pandas.DataFrame:
    """A table with a column of each kind."""
    rng = numpy.random.default_rng(0)
    return pandas.DataFrame(
        {
            "id": numpy.arange(ROWS) + 17,
            "x": rng.normal(size=ROWS),
            "gappy": numpy.where(rng.random(ROWS) < 0.1, numpy.nan, rng.exponential(size=ROWS)),
            "truth": rng.random(ROWS) < 0.3,
            "letter": rng.choice(["a", "b", "c", None], ROWS, p=[0.5, 0.3, 0.1, 0.1]),
            "kind": pandas.Categorical(rng.choice(["u", "v"], ROWS)),
            "town": rng.integers(0, 60, ROWS).astype(str),
            "count": pandas.array(rng.choice([1, 2, 5, None], ROWS), dtype="Int64"),
            "when": pandas.date_range("2020-01-01", periods=ROWS, freq="31h"),
            "constant": 1,
            "remark": [f"remark {index} of many" for index in range(ROWS)],
        }
    )


@pytest.fixture
def y(frame: pandas.DataFrame) -> numpy.ndarray:
    return (frame["x"] + (frame["letter"] == "a") > 0.5).to_numpy()


def column_of(encoder: TableEncoder, encoded: numpy.ndarray, name: str) -> numpy.ndarray:
    return encoded[:, encoder.get_feature_names_out().tolist().index(name)]


def test_scikit_learn_finds_no_fault() -> None:
    for encoder in (TableEncoder(), TableEncoder(scaling="standard", bins=None, task=None)):
        checks = check_estimator(encoder, on_skip=None, on_fail=None)
        failed = [check for check in checks if check["status"] not in ("passed", "skipped")]
        assert len(checks) > 30 and not failed


def test_every_library_and_the_file_give_the_same_numbers(
    frame: pandas.DataFrame, y: numpy.ndarray, tmp_path: Any
) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(frame), tmp_path / "table.parquet")
    read = pyarrow.parquet.read_table(tmp_path / "table.parquet")
    tables = [
        frame,
        read,
        polars.from_arrow(read),
        dict(frame.items()),
        frame.convert_dtypes(dtype_backend="pyarrow"),
    ]
    encoded = [
        TableEncoder(random_state=0).fit(table, y).transform(other)
        for table in tables
        for other in tables
    ]
    for other in encoded[1:]:
        numpy.testing.assert_array_equal(other, encoded[0])


def test_what_cannot_help_is_left_out_and_told(frame: pandas.DataFrame) -> None:
    encoder = TableEncoder().fit(frame)
    assert encoder.left_out_ == {
        "id": "numbers the rows",
        "constant": "holds one value only",
        "remark": "holds text that differs from row to row; text_features='on' uses it",
    }
    numpy.testing.assert_array_equal(
        encoder.transform(frame.drop(columns=list(encoder.left_out_))), encoder.transform(frame)
    )


@pytest.mark.parametrize("gaps", [0, 1, 5])
def test_row_numbers_are_told_from_other_whole_numbers_beside_gaps(gaps: int) -> None:
    price = pandas.Series(
        numpy.random.default_rng(0).choice(10**9, 300, replace=False), dtype="Int64"
    )
    number = pandas.Series(range(300), dtype="Int64")
    price[:gaps] = number[:gaps] = pandas.NA
    table = pandas.DataFrame({"price": price, "number": number})
    assert TableEncoder().fit(table).left_out_ == {"number": "numbers the rows"}


def test_columns_are_found_by_name_and_others_ignored(frame: pandas.DataFrame) -> None:
    encoder = TableEncoder().fit(frame)
    shuffled = frame.assign(more=3.0)[["more", *frame.columns[::-1]]]
    numpy.testing.assert_array_equal(encoder.transform(shuffled), encoder.transform(frame))


def test_numbers_in_a_list_of_rows_stay_numbers_beside_text() -> None:
    x, letter = numpy.random.default_rng(0).normal(size=40).tolist(), ["a", "b"] * 20
    encoder = TableEncoder(bins=None).fit(list(map(list, zip(x, letter, strict=True))))
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1_a", "x1_b"]
    numpy.testing.assert_array_equal(
        encoder.transform([[x[3], "b"]]),
        TableEncoder(bins=None)
        .fit({"x": x, "letter": letter})
        .transform({"x": [x[3]], "letter": ["b"]}),
    )


@pytest.mark.parametrize(
    "column", [pandas.Series([1.0, 2.0]), polars.Series([1.0, 2.0]), numpy.arange(3.0)]
)
def test_one_column_is_no_table(column: Any) -> None:
    with pytest.raises(ValueError, match="Expected"):
        TableEncoder().fit(column)


def test_robust_scaling_is_a_smooth_clip_of_the_interquartile_range() -> None:
    x = numpy.random.default_rng(1).standard_cauchy(1001)
    encoded = TableEncoder(bins=None).fit_transform(x[:, None])[:, 0]
    z = (x - numpy.median(x)) / (numpy.quantile(x, 0.75) - numpy.quantile(x, 0.25))
    numpy.testing.assert_allclose(encoded, z / numpy.sqrt(1 + (z / 3) ** 2), rtol=1e-6, atol=1e-7)


def test_standard_scaling_has_mean_0_and_deviation_1() -> None:
    x = numpy.random.default_rng(1).normal(50, 7, (1001, 1))
    encoded = TableEncoder(scaling="standard", bins=None).fit_transform(x)
    numpy.testing.assert_allclose(encoded, (x - x.mean()) / x.std(), atol=1e-5)  # float32


def test_bins_say_how_far_through_each_a_number_is() -> None:
    x = numpy.random.default_rng(1).exponential(size=801)
    encoder = TableEncoder(bins=8).fit(x[:, None])
    bins = encoder.transform(numpy.append(x, [-5.0, 99.0])[:, None])[:, 1:]
    edges = numpy.quantile(x, numpy.linspace(0, 1, 9))
    wanted = [
        numpy.interp(numpy.append(x, [-5.0, 99.0]), edges[b : b + 2], [0, 1]) for b in range(8)
    ]
    numpy.testing.assert_allclose(bins, numpy.transpose(wanted), atol=1e-6)


def test_few_values_are_the_edges() -> None:
    encoder = TableEncoder(bins=10).fit(numpy.repeat([1.0, 2.0, 5.0], 40)[:, None])
    numpy.testing.assert_array_equal(
        encoder.transform([[1.0], [2.0], [5.0], [3.5]])[:, 1:], [[0, 0], [1, 0], [1, 1], [1, 0.5]]
    )


def test_a_target_that_rises_and_falls_many_times_has_finer_bins_of_a_tree() -> None:
    rng = numpy.random.default_rng(0)
    x = rng.uniform(0, 1, (8000, 2))
    groups = (40 * x[:, 0]).astype(int) % 2 == 1
    y = rng.random(8000) < numpy.where(groups, 0.9, 0.1)
    edges = [encoding.edges for encoding in TableEncoder(binning="tree").fit(x, y).encodings_]
    jumps = numpy.linspace(0, 1, 41)[1:-1]
    assert (
        numpy.abs(edges[0][:, None] - jumps).min(axis=0).max() < 0.005
    )  # a bin of 20 rows is 0.0025 wide
    assert len(edges[0]) < 50
    assert len(edges[1]) <= 33
    smooth = TableEncoder(binning="tree").fit(x, numpy.sin(6 * x[:, 0]) + rng.normal(size=8000))
    assert max(len(encoding.edges) for encoding in smooth.encodings_) <= 33
    chosen = TableEncoder(binning="tree", bins=16).fit(x, y)
    assert max(len(encoding.edges) for encoding in chosen.encodings_) <= 17


def test_trees_make_fewer_bins_where_a_table_has_many_numbers() -> None:
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=(4000, 30))
    y = x[:, 0] + 5 * rng.normal(size=4000)
    for columns, bins in ((4, 32), (12, 16), (30, 8)):
        encoder = TableEncoder(binning="tree").fit(x[:, :columns], y)
        assert {len(number.edges) - 1 for number in encoder.encodings_} == {bins}


def test_bins_of_a_tree_lie_where_the_target_jumps() -> None:
    x = numpy.random.default_rng(1).uniform(size=1000)
    encoder = TableEncoder(bins=4, binning="tree").fit(x[:, None], x > 0.31)
    assert numpy.abs(encoder.encodings_[0].edges - 0.31).min() < 0.005
    with pytest.raises(xpnet.InputError, match="pass y"):
        TableEncoder(binning="tree").fit(x[:, None])


def test_a_column_that_tells_nothing_alone_has_bins_of_quantiles() -> None:
    x = numpy.random.default_rng(0).uniform(size=(2000, 2))
    encoder = TableEncoder(binning="tree").fit(x, (x[:, 0] > 0.5) == (x[:, 1] > 0.5))
    assert all(8 <= len(number.edges) - 1 <= 32 for number in encoder.encodings_)
    few = TableEncoder(bins=4, binning="tree").fit(x, (x[:, 0] > 0.5) == (x[:, 1] > 0.5))
    assert all(len(number.edges) - 1 <= 4 for number in few.encodings_)


def test_two_values_become_minus_one_and_one() -> None:
    encoded = TableEncoder().fit_transform(
        {"truth": numpy.arange(100) % 3 == 0, "two": numpy.arange(100) % 5 // 4 + 7}
    )
    assert {tuple(column) for column in numpy.unique(encoded, axis=0)} == {
        (-1, -1),
        (-1, 1),
        (1, -1),
        (1, 1),
    }


def test_a_gap_has_a_column_of_its_own_where_training_had_gaps(frame: pandas.DataFrame) -> None:
    encoder = TableEncoder().fit(frame)
    names = encoder.get_feature_names_out()
    assert [name for name in names if "missing" in name] == [
        "gappy_missing",
        "letter_missing",
        "count_missing",
    ]
    encoded = encoder.transform(frame)
    numpy.testing.assert_array_equal(
        column_of(encoder, encoded, "gappy_missing"), frame["gappy"].isna()
    )
    unseen = encoder.transform(frame.assign(x=None, truth=None, kind=None, town=None, when=None))
    assert numpy.isfinite(unseen).all()
    assert numpy.abs(column_of(encoder, unseen, "x")).max() < 0.01  # a value beside the median


@pytest.mark.parametrize(
    ("low", "step"), [(1.7e12, 1.0), (0.0, 1e40), (0.0, 1e-60), (-1e299, 1e297)]
)
def test_trees_cut_numbers_that_float32_does_not_hold(low: float, step: float) -> None:
    # Milliseconds since 1970 that differ by less than float32 tells at that size; numbers beyond
    # its largest, smallest.
    x = low + step * numpy.random.default_rng(0).permutation(400)
    y = (x - low) / step % 100
    encoder = TableEncoder(binning="tree", bins=8).fit(x[:, None], y)
    plain = TableEncoder(binning="tree", bins=8).fit(numpy.round((x - low) / step)[:, None], y)
    edges = (encoder.encodings_[0].edges - low) / step
    numpy.testing.assert_allclose(
        edges, plain.encodings_[0].edges, atol=1e-3
    )  # thresholds are rounded to float32


def test_a_note_counts_the_infinite_numbers_of_a_column() -> None:
    values = numpy.arange(60.0)
    values[[3, 7]] = numpy.inf, -numpy.inf
    texts = ["inf" if k == 5 else f"{k}.5" for k in range(60)]
    encoder = TableEncoder().fit({"a": values, "b": texts, "c": numpy.arange(60)})
    assert sorted(encoder.notes_) == ["a", "b"]
    assert "infinite numbers in 2 rows" in encoder.notes_["a"]
    assert "an infinite number in 1 row," in encoder.notes_["b"]


def test_infinite_numbers_count_as_the_largest_seen() -> None:
    encoder = TableEncoder().fit(numpy.arange(100.0)[:, None])
    numpy.testing.assert_array_equal(
        encoder.transform([[numpy.inf], [-numpy.inf]]), encoder.transform([[99.0], [0.0]])
    )


def test_numbers_of_any_size_give_finite_ones() -> None:
    huge = numpy.array([-1e308, 0, 1.0, 3.0, 1e308, 5e-324] * 10)[:, None]
    # Those beyond 1e300 count as infinite: as the smallest and the largest of the others.
    limited = huge.clip(0.0, 3.0)
    robust = (limited - 0.5) / 1.5  # the median of 0, 1, 3 and 5e-324, and their quartiles
    wanted = {
        "robust": robust / numpy.sqrt(1 + (robust / 3) ** 2),
        "standard": (limited - 1.0) / numpy.sqrt(1.5),
    }
    for scaling, scaled in wanted.items():
        encoded = TableEncoder(scaling=scaling).fit_transform(huge)
        numpy.testing.assert_allclose(encoded, scaled, rtol=1e-6)
    encoder = TableEncoder(scaling="standard").fit(numpy.arange(9.0)[:, None])
    scaled = (huge.clip(0.0, 8.0) - 4.0) / numpy.arange(9.0).std()
    numpy.testing.assert_allclose(encoder.transform(huge), scaled, rtol=1e-6)


def test_rare_values_are_together_and_unknown_ones_apart() -> None:
    values = numpy.repeat(["often", "seldom", "once", "twice"], [60, 36, 1, 2])
    encoder = TableEncoder(min_frequency=5).fit({"word": values})
    assert encoder.get_feature_names_out().tolist() == ["word_often", "word_seldom", "word_rare"]
    wanted = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    words = ["often", "seldom", "once", "twice", "never", None]
    numpy.testing.assert_array_equal(
        encoder.transform({"word": numpy.array(words, dtype=object)}), wanted
    )


def test_many_values_have_their_frequency_and_the_mean_target_of_other_rows() -> None:
    rng = numpy.random.default_rng(2)
    town = rng.integers(0, 200, 2000)
    of_town = 0.4 * rng.normal(size=200)
    y = of_town[town] + rng.normal(size=2000)
    table = {"town": town.astype(str)}
    encoder = TableEncoder(random_state=0)
    trained = encoder.fit_transform(table, y)
    frequent = (numpy.bincount(town) >= 20).sum()
    assert trained.shape == (2000, frequent + 1 + 2)
    # The mean of other rows tells what the towns have in common, and nothing of the row's noise.
    is_rare = (numpy.bincount(town) < 20)[town]
    assert not trained[~is_rare, -1].any()
    of_town, y, trained, rare = of_town[town][is_rare], y[is_rare], trained[is_rare], town[is_rare]
    assert numpy.corrcoef(trained[:, -1], of_town)[0, 1] > 0.6
    assert abs(numpy.corrcoef(trained[:, -1], y - of_town)[0, 1]) < 0.05
    later = encoder.transform(table)[is_rare, -1]
    fits = []
    for prior in numpy.linspace(3, 12, 91):  # a correlation of 0.16 / 1.16 asks for 6.2 rows
        mean = [(y[rare == t].sum() + prior * y.mean()) / ((rare == t).sum() + prior) for t in rare]
        fits.append(numpy.corrcoef(later, mean)[0, 1])
    assert max(fits) == pytest.approx(1, abs=1e-6)


def test_hundreds_of_values_have_columns_of_their_own_where_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {"town": numpy.arange(3000).astype(str).repeat(20)[:6000]}
    assert TableEncoder(task=None).fit_transform(table).shape == (6000, 300 + 1)
    monkeypatch.setattr("xpnet.tabular.encodings.column_fit.MAX_ENCODED_NUMBERS", 10 * 6000)
    assert TableEncoder(task=None).fit_transform(table).shape == (
        6000,
        100 + 1 + 1,
    )  # and one for the others


def test_parts_of_a_moment_that_vary_are_encoded() -> None:
    days = [
        datetime.datetime(2023, 11, 6, 12) + datetime.timedelta(days=7 * index)
        for index in range(40)
    ]  # Mondays
    encoder = TableEncoder(bins=None).fit({"day": pandas.Series(days)})
    names = encoder.get_feature_names_out().tolist()
    assert [n for n in names if not n.endswith(("sin", "cos"))] == [
        "day_trend",
        "day_year",
        "day_month",
        "day_day",
    ]
    encoded = encoder.transform(
        {"day": pandas.Series([datetime.datetime(2024, 4, 1), datetime.datetime(2024, 10, 1)])}
    )
    numpy.testing.assert_allclose(
        column_of(encoder, encoded, "day_month_sin"), [1, -1], atol=1e-6
    )  # half a year apart


def test_dates_have_no_hour() -> None:
    hours = pandas.Series(pandas.date_range("2024-01-01", periods=100, freq="h"))
    dates = TableEncoder().fit({"date": pyarrow.array(hours.dt.date.tolist() * 3)})
    assert "date_hour" not in dates.get_feature_names_out()


def test_errors_name_the_column(frame: pandas.DataFrame) -> None:
    encoder = TableEncoder().fit(frame)
    for changed, words in (
        (frame.assign(x="abc"), "'x' must hold numbers.*'abc'"),
        (frame.assign(when="abc"), "'when' must hold dates.*'abc' in row 0"),
        (frame.assign(when=1.5), "'when' must hold dates.*float64"),
        (frame.drop(columns=["x", "town"]), "'town', 'x' is missing"),
    ):
        with pytest.raises(xpnet.InputError, match=words):
            encoder.transform(changed)
    with pytest.raises(xpnet.InputError, match="'x' twice"):
        encoder.fit(pandas.concat([frame, frame[["x"]]], axis=1))
    with pytest.raises(xpnet.InputError, match="constant holds one value only"):
        encoder.fit(frame[["constant"]])


def test_whole_numbers_may_come_as_text_or_as_floats() -> None:
    encoder = TableEncoder().fit({"code": numpy.array(["1", "2", "x"] * 20)})
    wanted = encoder.transform({"code": numpy.array(["1", "2"])})
    for same in (
        numpy.array([1, 2]),
        numpy.array([1.0, 2.0]),
        pandas.Series([1, 2], dtype="Int64"),
    ):
        numpy.testing.assert_array_equal(encoder.transform({"code": same}), wanted)


def test_frames_out_pipelines_and_copies(frame: pandas.DataFrame, y: numpy.ndarray) -> None:
    encoder = TableEncoder(random_state=0).fit(frame, y)
    encoded = encoder.transform(frame)
    numpy.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).transform(frame), encoded)
    named = clone(encoder).set_output(transform="pandas").fit(frame, y).transform(frame)
    assert named.columns.tolist() == encoder.get_feature_names_out().tolist()
    assert named.columns.is_unique
    numpy.testing.assert_array_equal(named.to_numpy(), encoded)
    pipeline = make_pipeline(TableEncoder(random_state=0), LogisticRegression(max_iter=1000))
    assert pipeline.fit(frame, y).score(frame, y) > 0.9


def test_names_that_collide_are_told_apart() -> None:
    encoder = TableEncoder().fit(
        {
            "a": numpy.array(["b", "c_d"] * 9),
            "a_b": numpy.array(["", "x"] * 9),
            "a_": numpy.arange(18) % 2,
        }
    )
    names = encoder.get_feature_names_out().tolist()
    assert len(set(names)) == len(names)


def test_dates_that_a_frame_holds_as_text_are_dates() -> None:
    """pandas reads a column of dates as text, pyarrow as dates: both give the same numbers."""
    text = numpy.array(["2024-01-05", "2024-02-10", "2024-03-15", "2024-04-20"] * 30)
    frames = [pandas.DataFrame({"day": text}), pandas.DataFrame({"day": pandas.to_datetime(text)})]
    frames[0].loc[3, "day"] = frames[1].loc[3, "day"] = None
    encoders = [xpnet.TableEncoder().fit(frame) for frame in frames]
    expected = encoders[1].transform(frames[1])
    frames.append(
        polars.DataFrame({"day": [*text[:3], None, *text[4:]]})
    )  # whose text is of another type of Arrow's
    encoders.append(xpnet.TableEncoder().fit(frames[2]))
    assert (
        encoders[0].get_feature_names_out().tolist() == encoders[1].get_feature_names_out().tolist()
    )
    for encoder in encoders:
        for frame in frames:
            numpy.testing.assert_array_equal(encoder.transform(frame), expected)
    with pytest.raises(xpnet.InputError, match="'day' must hold dates.*'tomorrow'"):
        encoders[0].transform(pandas.DataFrame({"day": ["2024-01-05", "tomorrow"]}))
    # Where one value was no date in training, all are words, and stay so however few rows are
    # predicted.
    words = xpnet.TableEncoder().fit(pandas.DataFrame({"day": [*text, "never"]}))
    assert words.transform(pandas.DataFrame({"day": text[:1]})).sum() == 1


def test_a_refused_fit_leaves_the_encoder_as_it_was(
    frame: pandas.DataFrame, y: numpy.ndarray
) -> None:
    encoder = TableEncoder().fit(frame, y)
    encoded, facts = encoder.transform(frame), dict(vars(encoder))
    with pytest.raises(ValueError, match="must vary"):
        encoder.fit({"only": numpy.ones(9), "another": ["a"] * 9})
    assert vars(encoder).keys() == facts.keys()
    assert (encoder.n_features_in_, encoder.notes_, encoder.left_out_) == (
        len(frame.columns),
        facts["notes_"],
        facts["left_out_"],
    )
    assert numpy.array_equal(encoder.transform(frame), encoded)
