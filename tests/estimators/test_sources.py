"""Rows that are read block by block, compared with the same rows in memory."""

import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from helpers.estimators import CutOff, Killed
from helpers.ranks.threads_group import ThreadsGroup, on_ranks
from sklearn.exceptions import ConvergenceWarning

import xpnet
from xpnet.data import sources
from xpnet.data.sources import ArraySource, ChunkSource, ParquetSource, as_source
from xpnet.errors import DataFileError, InputError
from xpnet.training import Callback, Training, callbacks

ROWS = 3000


@pytest.fixture(autouse=True)
def no_word_of_convergence() -> Iterator[None]:
    """Few epochs do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers of 700 rows, and blocks of about a hundred."""
    monkeypatch.setattr(sources, "BUFFER_ROWS", 700)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 2500)


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[Any, Any]:
    """X float32 (rows, 6) and two classes that a line parts."""
    X = rng.normal(size=(ROWS, 6)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


def classifier(**changed: Any) -> xpnet.MLPClassifier:
    """A small one."""
    settings: dict[str, Any] = {
        "hidden_layer_sizes": (8,),
        "max_iter": 8,
        "random_state": 0,
        "batch_size": 64,
    }
    return xpnet.MLPClassifier(**{**settings, **changed})


def same_weights(a: Any, b: Any, **tolerance: float) -> None:
    """Require equal parameters."""
    for found, expected in zip(
        [*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_], strict=True
    ):
        np.testing.assert_allclose(found, expected, **{"rtol": 0, "atol": 0, **tolerance})


@pytest.mark.parametrize(
    "settings",
    [{}, pytest.param({"early_stopping": True}, marks=pytest.mark.slow), {"solver": "lbfgs"}],
    ids=str,
)
def test_a_source_that_fits_a_buffer_is_its_array(data: Any, settings: dict[str, Any]) -> None:
    X, y = data
    same_weights(classifier(**settings).fit(ArraySource(X), y), classifier(**settings).fit(X, y))


@pytest.mark.usefixtures("small_buffers")
def test_in_the_order_of_the_rows_every_update_is_that_of_the_array(data: Any) -> None:
    X, y = data
    streamed = classifier(shuffle=False).fit(ArraySource(X), y)
    same_weights(streamed, classifier(shuffle=False).fit(X, y), rtol=1e-5, atol=1e-7)
    assert streamed.t_ == 8 * ROWS


@pytest.mark.usefixtures("small_buffers")
def test_lbfgs_takes_all_rows_of_a_source_at_once(data: Any) -> None:
    X, y = data
    weight = np.linspace(0.5, 2, ROWS)
    settings = {"solver": "lbfgs", "max_iter": 15, "dtype": "float64", "alpha": 0.1}
    same_weights(
        *(classifier(**settings).fit(rows, y, sample_weight=weight) for rows in (ArraySource(X), X))
    )


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"early_stopping": True},
        {"max_grad_norm": 1.0},
        {"class_weight": {0: 1, 1: 2}},
        {"dropout": 0.1},
    ],
    ids=str,
)
def test_shuffled_buffers_teach_as_well(data: Any, settings: dict[str, Any]) -> None:
    X, y = data
    settings = {"learning_rate_init": 0.01, "max_iter": 15, **settings}
    streamed = classifier(**settings).fit(ArraySource(X), y)
    assert streamed.score(X, y) > classifier(**settings).fit(X, y).score(X, y) - 0.02
    assert streamed.loss_curve_[-1] < streamed.loss_curve_[0]
    same_weights(classifier(**settings).fit(ArraySource(X), y), streamed)


@pytest.mark.usefixtures("small_buffers")
def test_every_row_once_an_epoch() -> None:
    from xpnet.data.buffers import rows_of
    from xpnet.training.streamed import BlockOrders

    X = np.arange(2000.0, dtype=np.float32).reshape(-1, 1)
    source = ArraySource(X)
    orders = BlockOrders(np.random.RandomState(0), source, np.arange(source.blocks))
    first, second = ([], [])
    for epoch in (first, second):
        blocks, seed = orders.permutation(2000)
        for X_part, rows, _ in rows_of(source, blocks, "float32", batch_size=64, seed=seed):
            epoch.append((X_part.copy(), rows))
        found = np.concatenate([rows for _, rows in epoch])
        np.testing.assert_array_equal(np.sort(found), np.arange(2000))
        np.testing.assert_array_equal(np.concatenate([X_part for X_part, _ in epoch])[:, 0], found)
        assert all(len(rows) % 64 == 0 for _, rows in epoch[:-1])
    assert not np.array_equal(first[0][1], second[0][1])


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_rows_are_measured_block_by_block(
    data: Any, early_stopping: bool, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data
    given = {"y_val": y[:900], "sample_weight_val": np.arange(900.0) % 3 if weighted else None}
    made = [classifier(early_stopping=early_stopping, alpha=1.0) for _ in range(2)]
    made[0].fit(X, y, X_val=X[:900], **given)
    monkeypatch.setattr(sources.Source, "whole", None)  # never asked for
    made[1].fit(X, y, X_val=ArraySource(X[:900]), **given)
    same_weights(*made)
    np.testing.assert_allclose(*(model.validation_loss_curve_ for model in made), rtol=1e-9)
    assert made[0].validation_scores_ == made[1].validation_scores_


@pytest.mark.usefixtures("small_buffers")
def test_partial_fit_and_predict(data: Any) -> None:
    X, y = data
    model = (
        classifier().partial_fit(ArraySource(X), y, classes=[0, 1]).partial_fit(ArraySource(X), y)
    )
    assert model.t_ == 2 * ROWS
    np.testing.assert_allclose(
        model.predict_proba(ArraySource(X)), model.predict_proba(X), rtol=1e-6
    )
    regressor = xpnet.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0).fit(
        ArraySource(X), X[:, :2]
    )
    assert regressor.predict(ArraySource(X)).shape == (ROWS, 2)


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("kind", ["uint8", "float16"])
def test_narrow_numbers_are_widened_block_by_block(
    data: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data
    narrow = (np.abs(X) * 50).astype(kind)
    monkeypatch.setattr(sources.Source, "whole", None)  # never asked for
    model = classifier(dtype="float32", early_stopping=True).fit(ArraySource(narrow), y)
    assert model.dtype_ == "float32"
    assert model.predict(ArraySource(narrow)).shape == (ROWS,)


@pytest.mark.parametrize(
    ("kind", "options", "is_source"),
    [
        ("float32", {}, False),
        ("float32", {"dtype": "float64"}, True),
        ("float32", {"copied": True}, True),
        ("uint8", {"dtype": "float32"}, True),
        ("uint8", {}, True),
        ("float64", {}, True),
    ],
    ids=str,
)
def test_a_large_memory_map_is_read_by_blocks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: dict[str, Any],
    is_source: bool,
) -> None:
    monkeypatch.setattr(sources, "LARGE_MAP_BYTES", 1000 * 4)
    monkeypatch.setattr(sources, "LARGE_COPY_BYTES", 1000 * 4 - 1)
    mapped = np.memmap(tmp_path / "X", kind, "w+", shape=(500, 2))
    assert (as_source(mapped, **options) is not None) == is_source
    assert as_source(np.asarray(mapped), **options) is None


@pytest.mark.usefixtures("small_buffers")
def test_files(tmp_path: Path, data: Any) -> None:
    X, y = data
    h5py = pytest.importorskip("h5py", reason="HDF5 files are read by h5py, the extra 'data'")
    zarr = pytest.importorskip("zarr", reason="Zarr groups are read by zarr, the extra 'data'")
    np.save(tmp_path / "X.npy", X)
    group = zarr.open_group(str(tmp_path / "d.zarr"), mode="w")
    group.create_array("X", shape=X.shape, dtype=X.dtype, chunks=(100, 6))[:] = X
    expected = classifier(shuffle=False).fit(X, y)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(50, 6))
        for found in (
            file["X"],
            group["X"],
            ArraySource(np.load(tmp_path / "X.npy", mmap_mode="r")),
        ):
            assert as_source(found) is not None
            same_weights(classifier(shuffle=False).fit(found, y), expected, rtol=1e-5, atol=1e-7)
            np.testing.assert_array_equal(expected.predict(found), expected.predict(X))


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        (np.nan, ["Input X contains NaN", "MLPClassifier", "TabularClassifier", "SimpleImputer"]),
        (np.inf, ["Input X contains infinity", "drop their rows"]),
    ],
)
def test_values_that_are_not_finite_are_named_with_a_remedy(
    data: Any, value: float, facts: list[str]
) -> None:
    X, y = data
    bad = X.copy()
    bad[1234, 2] = value
    fitted = classifier().fit(X, y)
    for call in (lambda: classifier().fit(bad, y), lambda: fitted.predict(bad)):
        with pytest.raises(xpnet.InputError) as caught:
            call()
        message = str(caught.value)
        assert [fact for fact in facts if fact not in message] == []
        assert len(message.split()) <= 25


def folder_of(tmp_path: Path, X: Any, y: Any) -> Path:
    """The rows in three Parquet files, in groups of 250."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for k, rows in enumerate(np.array_split(np.arange(len(y)), 3)):
        columns = {f"c{j}": X[rows, j] for j in range(X.shape[1])} | {"y": y[rows]}
        pyarrow.parquet.write_table(
            pyarrow.table(columns), folder / f"{k}.parquet", row_group_size=250
        )
    return folder


@pytest.mark.usefixtures("small_buffers")
def test_a_folder_of_parquet(tmp_path: Path, data: Any) -> None:
    X, y = data
    source = ParquetSource(folder_of(tmp_path, X, y), "y")
    assert (source.shape, source.features[:2], source.blocks) == ((ROWS, 6), ["c0", "c1"], 12)
    np.testing.assert_array_equal(source.whole(), X)
    np.testing.assert_array_equal(source.labels, y)
    model = classifier(shuffle=False).fit(source, source.labels)
    same_weights(model, classifier(shuffle=False).fit(X, y), rtol=1e-5, atol=1e-7)
    pyarrow.parquet.write_table(pyarrow.table({"a": ["x"], "y": [1]}), tmp_path / "text.parquet")
    with pytest.raises(DataFileError, match="must hold numbers; 'a' hold none"):
        ParquetSource(tmp_path / "text.parquet", "y")
    pyarrow.parquet.write_table(
        pyarrow.table({"a": [0.5, 1.5, 2.5], "y": [1, None, 2]}), tmp_path / "gap.parquet"
    )
    with pytest.raises(DataFileError, match="must have a label; row 2, column 'y' has none"):
        ParquetSource(tmp_path / "gap.parquet", "y")
    (tmp_path / "rows" / "0.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataFileError, match="0.parquet.*cannot be read.*Write its files again"):
        ParquetSource(tmp_path / "rows", "y")


@pytest.mark.usefixtures("small_buffers")
def test_a_function_that_yields_chunks(data: Any) -> None:
    X, y = data

    def chunks() -> Iterator[Any]:
        for start in range(0, ROWS, 333):
            yield X[start : start + 333], y[start : start + 333]

    source = ChunkSource(chunks)
    np.testing.assert_array_equal(source.labels, y)
    same_weights(
        classifier(shuffle=False).fit(source, y),
        classifier(shuffle=False).fit(X, y),
        rtol=1e-5,
        atol=1e-7,
    )
    assert classifier(learning_rate_init=0.01, max_iter=20).fit(chunks, y).score(chunks, y) > 0.8

    calls: list[int] = []

    def shrinking() -> Iterator[Any]:
        calls.append(1)
        yield X[: ROWS - 100 * len(calls)]
        yield X[:100]

    with pytest.raises(InputError, match=r"equally many columns, at least one; got \[5, 6\]"):
        ChunkSource(lambda: [(X, None), (X[:, :5], None)])
    with pytest.raises(InputError, match="must yield the same ones"):
        classifier().fit(shrinking, y)


@pytest.mark.usefixtures("small_buffers")
def test_invalid_sources_are_refused(data: Any) -> None:
    X, y = data
    bad = X.copy()
    bad[1234, 2] = np.nan
    with pytest.raises(ValueError, match="the first in row 1234"):
        classifier().fit(ArraySource(bad), y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier().fit(ArraySource(X), y[:-1])
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        classifier().fit(ArraySource(X[:0]), y[:0])
    with pytest.raises(InputError, match="matrix of numbers"):
        ArraySource(X[:, 0])
    fitted = classifier(max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="6 features"):
        fitted.predict(ArraySource(X[:, :5]))


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("settings", [{}, {"max_grad_norm": 1.0}], ids=str)
def test_an_epoch_over_a_source_says_how_far_it_is(
    data: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data
    monkeypatch.setattr(callbacks, "MIN_REPORT_SECONDS", 0.0)
    rows = []

    class Heard(Callback):
        def within_epoch(self, training: Training) -> None:
            rows.append(training.rows_done)

    classifier(max_iter=1, **settings).fit(ArraySource(X), y, callbacks=[Heard()])
    assert rows == sorted(rows) and rows[-1] == ROWS and len(rows) > 4


@pytest.mark.usefixtures("small_buffers")
def test_an_interrupt_leaves_whole_buffers(data: Any) -> None:
    X, y = data

    class Interrupted(ArraySource):
        reads = 0

        def read(self, block: int) -> np.ndarray:
            self.reads += 1
            if self.reads == 60:
                raise KeyboardInterrupt
            return super().read(block)

    model = classifier()
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(Interrupted(X), y)
    assert model.n_iter_ >= 1
    assert all(np.isfinite(array).all() for array in model.coefs_)
    assert model.partial_fit(X, y).t_ > ROWS


@pytest.mark.usefixtures("small_buffers")
def test_ctrl_c_ends_the_reading_of_a_slow_source(data: Any) -> None:
    X, y = data

    class Slow(ArraySource):
        reads = 0

        def read(self, block: int) -> np.ndarray:
            self.reads += 1
            if self.reads == 5:
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.2)
            return super().read(block)

    classifier(max_iter=1).fit(X, y)  # compiled, so that an epoch would be short
    source = Slow(X)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.warns(UserWarning, match="interrupted by user"):
            classifier().fit(source, y)
    finally:
        signal.signal(signal.SIGINT, before)
    assert source.reads < source.blocks


def test_a_dask_collection_is_refused_with_advice() -> None:
    class Array:
        shape, ndim = (10, 2), 2

    Array.__module__ = "dask.array.core"
    with pytest.raises(InputError, match="xpnet.dask.MLPClassifier"):
        classifier().fit(Array(), [0, 1])


class Watched(ArraySource):
    """Notes which blocks are read."""

    def __init__(self, array: Any) -> None:
        super().__init__(array)
        self.reads: list[int] = []

    def read(self, block: int) -> np.ndarray:
        """A block."""
        self.reads.append(block)
        return super().read(block)


BLOCK = 104
"""Rows of a block in small buffers."""

SHARDS = {
    2: (BLOCK, ROWS - BLOCK),
    3: (10 * BLOCK, 0, ROWS - 10 * BLOCK),
    4: (0, BLOCK, 0, ROWS - BLOCK),
}
"""How many rows each rank has: whole blocks, so that the blocks of all ranks are those of one
process.
"""

SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "in order": {"shuffle": False},
    "clipped": {"max_grad_norm": 0.1},
    "dropout": {"dropout": 0.2},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 2},
    "lbfgs": {"solver": "lbfgs"},
    "validated": {"early_stopping": True},
}


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize(
    "own, size, weighted",
    [(False, 3, True), pytest.param(True, 2, False, marks=pytest.mark.slow), (True, 4, True)],
)
@pytest.mark.parametrize("name", SETTINGS)
def test_ranks_find_what_one_process_finds(
    data: Any, name: str, weighted: bool, own: bool, size: int
) -> None:
    X, y = data
    weight = np.linspace(0.5, 2, ROWS) if weighted else None

    def fit(group: ThreadsGroup | None = None) -> Any:
        part = slice(0, ROWS)
        if own and group is not None:
            end = sum(SHARDS[size][: group.rank + 1])
            part = slice(end - SHARDS[size][group.rank], end)
        given: dict[str, Any] = {"sample_weight": None if weight is None else weight[part]}
        if name == "validated":
            rows = np.arange(-(-part.start // 3) * 3, part.stop, 3)
            given |= {"X_val": ArraySource(X[rows]) if len(rows) else X[rows], "y_val": y[rows]}
        settings = {"max_iter": 4, "dtype": "float64", **SETTINGS[name]}
        source: Any = ArraySource(X[part]) if part.start < part.stop else X[part]
        model = classifier(**settings).fit(source, y[part], **given)
        return [
            *model.coefs_,
            *model.intercepts_,
            model.loss_,
            getattr(model, "validation_scores_", None) or 0,
        ]

    expected = fit()
    for found in on_ranks(size, fit, data="own" if own else "same"):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("small_buffers")
def test_each_block_is_read_by_one_rank(data: Any) -> None:
    X, y = data

    def reads(group: ThreadsGroup) -> list[int]:
        source = Watched(X)
        classifier(max_iter=2).fit(source, y)
        return source.reads

    every = on_ranks(3, reads)
    blocks = ArraySource(X).blocks
    assert sorted(sum(every, [])) == sorted(2 * list(range(blocks)))
    assert max(map(len, every)) - min(map(len, every)) <= 2


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("own", [False, True], ids=["same", "own"])
def test_chunks_of_a_function_on_ranks(data: Any, own: bool) -> None:
    X, y = data
    ends = np.cumsum([0, *SHARDS[2]])

    def chunks(first: int, last: int) -> Any:
        return lambda: (X[k : k + BLOCK] for k in range(first, last, BLOCK))

    def fit(group: ThreadsGroup | None = None) -> Any:
        first, last = (
            (ends[group.rank], ends[group.rank + 1]) if own and group is not None else (0, ROWS)
        )
        return (
            classifier(dtype="float64", max_iter=2)
            .fit(chunks(first, last), y[first:last])
            .coefs_[0]
            .copy()
        )

    expected = fit()
    for found in on_ranks(2, fit, data="own" if own else "same"):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("ranks", [(1, 1), (2, 3)], ids=["alone", "on ranks"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_killed_fit_of_a_source_continues(
    data: Any, weighted: bool, ranks: tuple[int, int], tmp_path: Path
) -> None:
    X, y = data
    settings = {"dtype": "float64", "early_stopping": True, "checkpoint": tmp_path}
    weight = np.linspace(0.5, 2, ROWS) if weighted else None
    cut_off = CutOff(3)

    def fit(group: Any = None) -> Any:
        model = classifier(**settings)
        model.fit(ArraySource(X), y, sample_weight=weight, callbacks=[cut_off])
        return model.coefs_[0].copy()

    with pytest.raises(Killed):
        on_ranks(ranks[0], fit)
    cut_off.after = 0
    assert len(list(tmp_path.rglob("checkpoint-*"))) == 1
    resumed = on_ranks(ranks[1], fit)
    assert len(list(tmp_path.iterdir())) == 1
    settings["checkpoint"] = None
    expected = fit()
    for found in resumed:
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("small_buffers")
def test_a_checkpoint_is_named_after_every_row_of_a_source(data: Any, tmp_path: Path) -> None:
    X, y = data
    other = X.copy()
    other[-1, 3] += 1
    for rows in (X, other, X):
        classifier(max_iter=1, checkpoint=tmp_path).fit(ArraySource(rows), y)
    assert len(list(tmp_path.iterdir())) == 2
