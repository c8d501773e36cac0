"""Estimators that train on the workers of a Dask cluster."""

import asyncio
import ctypes
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import xpnet
from xpnet.errors import BackendError, InputError

pytest.importorskip("distributed", reason="dask and distributed are not installed")
import dask.array  # noqa: E402
import dask.dataframe  # noqa: E402
import joblib  # noqa: E402
import pandas as pd  # noqa: E402
import psutil  # noqa: E402
from distributed import Client, LocalCluster, wait  # noqa: E402

import xpnet.dask  # noqa: E402
from xpnet.dask import exchange  # noqa: E402
from xpnet.dask.exchange import DaskGroup, Exchange, is_wanted  # noqa: E402
from xpnet.dask.placement import place, shard_map_of  # noqa: E402

SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": 9,
    "max_iter": 4,
    "batch_size": 16,
    "random_state": 0,
    "timeout": 60,
}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A cluster of two processes."""
    with (
        warnings.catch_warnings(),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def rows() -> tuple[Any, Any]:
    """X (150, 5), labels (150,)."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 150)
    return rng.normal(size=(150, 5)) + y[:, None], y


def in_blocks(*arrays: Any) -> list[Any]:
    """Dask arrays; one of the blocks is empty."""
    sizes = (40, 60, 0, 50)
    return [dask.array.from_array(a, chunks=(sizes, *a.shape[1:])) for a in arrays]


def plain(kind: type, **settings: Any) -> Any:
    """The estimator without Dask, with the same settings."""
    return kind(
        **{
            name: value
            for name, value in (SETTINGS | settings).items()
            if name not in ("client", "timeout")
        }
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"early_stopping": True},
        {"solver": "lbfgs"},
        {"class_weight": "balanced"},
        {"members": 3},
    ],
)
def test_a_classifier_finds_what_it_finds_without_dask(
    client: Any, settings: dict[str, Any]
) -> None:
    X, y = rows()
    X_blocks, y_blocks, weight = in_blocks(X, y, np.linspace(1, 2, 150))
    found = xpnet.dask.MLPClassifier(client=client, **SETTINGS, **settings).fit(
        X_blocks, y_blocks, weight
    )
    expected = plain(xpnet.MLPClassifier, **settings).fit(X, y, np.linspace(1, 2, 150))
    for a, b in zip(
        (*found.coefs_, *found.intercepts_), (*expected.coefs_, *expected.intercepts_), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    probabilities = found.predict_proba(X_blocks)
    assert isinstance(probabilities, dask.array.Array) and probabilities.shape == (150, 3)
    np.testing.assert_allclose(probabilities.compute(), expected.predict_proba(X), rtol=1e-9)
    assert np.array_equal(found.predict(X_blocks).compute(), expected.predict(X))
    assert found.score(X_blocks, y_blocks) == expected.score(X, y) == found.score(X, y)


def test_workers_that_are_threads_of_one_process_train_estimators_of_their_own() -> None:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        found = xpnet.dask.MLPClassifier(client=client, **SETTINGS).fit(*in_blocks(*rows()))
    expected = plain(xpnet.MLPClassifier).fit(*rows())
    np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-10, atol=1e-12)


def test_a_regressor_of_frames(client: Any) -> None:
    X, y = rows()
    frame = pd.DataFrame(X, columns=list("abcde")).assign(y=y * 2.0)
    blocks = dask.dataframe.from_pandas(frame, npartitions=3)
    model = xpnet.dask.MLPRegressor(client=client, **SETTINGS).fit(
        blocks[list("abcde")], blocks["y"]
    )
    expected = plain(xpnet.MLPRegressor).fit(frame[list("abcde")], frame["y"])
    predictions = model.predict(blocks[list("abcde")])
    assert predictions.npartitions == 3
    np.testing.assert_allclose(
        predictions.compute(), expected.predict(frame[list("abcde")]), rtol=1e-9
    )
    assert list(model.feature_names_in_) == list("abcde")


def test_what_is_no_collection_or_cut_differently(client: Any) -> None:
    X, y = rows()
    model = xpnet.dask.MLPClassifier(client=client, **SETTINGS)
    with pytest.raises(InputError, match="got ndarray"):
        model.fit(X, y)
    frame = dask.dataframe.from_pandas(pd.DataFrame(X), npartitions=3)
    with pytest.raises(InputError, match="Repartition"):
        model.fit(frame, dask.dataframe.from_pandas(pd.Series(y), npartitions=2))


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_estimators_without_dask_say_where_to_go(kind: str) -> None:
    X, y = rows()
    X_blocks, y_blocks = in_blocks(X, y)
    if kind == "frame":
        X_blocks = dask.dataframe.from_pandas(pd.DataFrame(X), npartitions=2)
    for call in (
        lambda: xpnet.MLPClassifier().fit(X_blocks, y_blocks),
        lambda: plain(xpnet.MLPClassifier).fit(X, y).predict(X_blocks),
        lambda: xpnet.FeedforwardNeuralNet(5, 4, 3).fit(X_blocks, y, epochs=1),
    ):
        with pytest.raises(InputError, match="Train with xpnet.dask"):
            call()


def test_a_rank_that_fails_is_named(client: Any) -> None:
    X, y = rows()
    X[-1, 0] = np.nan
    X_blocks, y_blocks = in_blocks(X, y)
    with pytest.raises(ValueError, match="NaN"):
        xpnet.dask.MLPClassifier(client=client, **SETTINGS).fit(X_blocks, y_blocks)


def test_copies_keep_the_client(client: Any) -> None:
    model = xpnet.dask.MLPClassifier((7,), client=client, timeout=5)
    twin = clone(model)
    assert twin.client is client and twin.timeout == 5 and twin.hidden_layer_sizes == (7,)


def test_a_search_over_parameters_on_joblibs_backend(client: Any) -> None:
    X, y = rows()
    search = GridSearchCV(
        xpnet.MLPClassifier(max_iter=3, random_state=0), {"alpha": [0.0, 1.0]}, cv=2
    )
    with joblib.parallel_backend("dask", client=client):
        search.fit(X, y)
    assert search.cv_results_["mean_test_score"].shape == (2,)


@pytest.mark.parametrize("kind", [xpnet.dask.MLPClassifier, xpnet.dask.MLPRegressor])
@pytest.mark.parametrize("named", [False, True], ids=["", "with client="])
def test_files_hold_the_estimator_without_dask(
    client: Any, kind: Any, named: bool, tmp_path: Path
) -> None:
    X, y = rows()
    model = kind(**SETTINGS, client=client if named else None).fit(*in_blocks(X, y))
    assert type(model.to_local()).__module__.startswith("xpnet.estimators")
    assert np.array_equal(model.to_local().predict(X), model.predict(X))
    for save in (model.save, lambda path: xpnet.save(model, path)):
        save(tmp_path / "model.safetensors")
        assert np.array_equal(
            xpnet.load(tmp_path / "model.safetensors").predict(X), model.predict(X)
        )


def test_blocks_are_computed_before_ranks_begin(client: Any) -> None:
    """A task that the second rank's rows need becomes ready on the first worker, whose thread a
    rank would hold.
    """

    def later() -> float:
        time.sleep(2)
        return 1.0

    def random_rows(seed: int, factor: float) -> Any:
        return np.random.default_rng(seed).normal(size=(75, 5)) * factor

    first, second = sorted(client.nthreads())
    slow = client.submit(later, workers=[second], pure=False)
    needed = client.submit(lambda value: value, slow, workers=[first], pure=False)
    parts = [dask.delayed(random_rows)(k, factor) for k, factor in enumerate((1.0, needed))]
    X = dask.array.concatenate([dask.array.from_delayed(part, (75, 5), "f8") for part in parts])
    y = dask.array.from_array(np.arange(150) % 2, chunks=75)
    model = xpnet.dask.MLPClassifier(client=client, **{**SETTINGS, "timeout": 20}).fit(X, y)
    assert model.n_iter_ == 4


@pytest.mark.parametrize(
    "settings", [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"shuffle": False}]
)
def test_blocks_stay_where_they_lie_and_the_answer_is_that_of_their_order(
    client: Any, settings: dict[str, Any]
) -> None:
    X, y = rows()

    def received(dask_worker: Any) -> list[str]:
        return [
            str(key) for transfer in dask_worker.transfer_incoming_log for key in transfer["keys"]
        ]

    workers = sorted(client.nthreads())
    blocks = [dask.array.from_array(a, chunks=(25, *a.shape[1:])) for a in (X, y)]
    places = [
        client.persist(b.blocks[k], workers=[workers[k % 2]]) for b in blocks for k in range(6)
    ]
    wait(places)
    before = client.run(received)
    X_blocks, y_blocks = (dask.array.concatenate(places[6 * k : 6 * k + 6]) for k in range(2))
    found = xpnet.dask.MLPClassifier(client=client, **SETTINGS, **settings).fit(X_blocks, y_blocks)
    expected = plain(xpnet.MLPClassifier, **settings).fit(X, y)
    for a, b in zip(
        (*found.coefs_, *found.intercepts_), (*expected.coefs_, *expected.intercepts_), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    new = {name for at, names in client.run(received).items() for name in names[len(before[at]) :]}
    assert not [name for name in new if "concatenate" in name or "array" in name], new


def test_blocks_are_moved_where_one_worker_has_them_all() -> None:
    assert place([10, 10, 10, 10], [["a"]] * 4, ["a", "b"]) == {"a": [0, 1], "b": [2, 3]}
    assert place([10, 10, 10], [["a"], ["b"], ["a"]], ["a", "b"]) == {"a": [0, 2], "b": [1]}
    assert place([10, 10], [["a", "b"], ["a"]], ["a", "b"]) == {"a": [0], "b": [1]}
    assert place([10, 0, 10], [["gone"], [], ["b"]], ["a", "b"]) == {"a": [0], "b": [1, 2]}
    assert shard_map_of([[0, 1], [2]], [10, 0, 10]) is None
    owners = shard_map_of([[0, 2], [1]], [2, 1, 2])
    assert owners is not None
    assert (owners.rank.tolist(), owners.index.tolist()) == ([0, 0, 1, 0, 0], [0, 1, 0, 2, 3])


def test_weights_and_targets_that_are_cut_differently(client: Any) -> None:
    X, y = rows()
    weight = np.linspace(1, 2, 150)
    X_blocks, y_blocks = in_blocks(X, y)
    cut_anew = [dask.array.from_array(y, chunks=33), dask.array.from_array(weight, chunks=70)]
    found = xpnet.dask.MLPClassifier(client=client, **SETTINGS).fit(X_blocks, *cut_anew)
    np.testing.assert_allclose(
        found.loss_curve_, plain(xpnet.MLPClassifier).fit(X, y, weight).loss_curve_, rtol=1e-10
    )
    frame = dask.dataframe.from_pandas(pd.DataFrame(X), npartitions=3)
    with pytest.raises(InputError, match="got 50, 40 rows in block 0. Repartition"):
        xpnet.dask.MLPClassifier(client=client, **SETTINGS).fit(
            frame, dask.array.from_array(y, chunks=((40, 60, 50),))
        )


def test_sparse_blocks(client: Any) -> None:
    X, y = rows()
    X[X < 0.5] = 0
    X_blocks, y_blocks = in_blocks(X, y)
    X_blocks = X_blocks.map_blocks(sparse.csr_matrix)
    found = xpnet.dask.MLPClassifier(client=client, **SETTINGS).fit(X_blocks, y_blocks)
    expected = plain(xpnet.MLPClassifier).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-10)
    assert np.array_equal(found.predict(X_blocks).compute(), expected.predict(X))


@pytest.mark.parametrize("collections", [False, True])
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}])
def test_rows_to_validate_on(client: Any, settings: dict[str, Any], collections: bool) -> None:
    X, y = rows()
    validation = {"X_val": X[:30], "y_val": y[:30], "sample_weight_val": np.linspace(1, 2, 30)}
    expected = plain(xpnet.MLPClassifier, **settings).fit(X, y, **validation)
    if collections:  # in one block, so that one worker has none
        validation = {name: dask.array.from_array(a, chunks=-1) for name, a in validation.items()}
    found = xpnet.dask.MLPClassifier(client=client, **SETTINGS, **settings).fit(
        *in_blocks(X, y), **validation
    )
    np.testing.assert_allclose(
        found.validation_loss_curve_, expected.validation_loss_curve_, rtol=1e-10
    )
    if settings:
        np.testing.assert_allclose(
            found.validation_scores_, expected.validation_scores_, rtol=1e-10
        )


def test_a_fit_goes_on_with_warm_start_and_partial_fit(client: Any) -> None:
    X, y = rows()
    found = xpnet.dask.MLPClassifier(client=client, warm_start=True, **SETTINGS)
    expected = plain(xpnet.MLPClassifier, warm_start=True)
    for _ in range(2):
        found.fit(*in_blocks(X, y))
        expected.fit(X, y)
        np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-10)
    assert len(found.loss_curve_) == 8
    found, expected = (
        xpnet.dask.MLPClassifier(client=client, **SETTINGS),
        plain(xpnet.MLPClassifier),
    )
    for _ in range(2):
        found.partial_fit(*in_blocks(X, y), classes=[0, 1, 2])
        expected.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(found.coefs_[0], expected.coefs_[0], rtol=1e-10)


def test_a_second_fit_shows_its_own_parameters(client: Any) -> None:
    X, y = rows()
    model = xpnet.dask.MLPClassifier(client=client, **SETTINGS).fit(*in_blocks(X, y))
    shown = model.coefs_[0].copy()
    model.set_params(random_state=1).fit(*in_blocks(X, y))
    assert not np.allclose(model.coefs_[0], shown)
    assert np.array_equal(model.coefs_[0], model.to_local().coefs_[0])


def test_an_asynchronous_client_is_refused() -> None:
    async def fit() -> None:
        async with Client(
            processes=False, n_workers=1, asynchronous=True, dashboard_address=None
        ) as client:
            xpnet.dask.MLPClassifier(client=client).fit(*in_blocks(*rows()))

    with pytest.raises(InputError, match="synchronous"):
        asyncio.run(fit())


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8])
def test_collective_calls_give_every_rank_the_same_bits(size: int) -> None:
    arrays = [np.random.default_rng(rank).normal(size=9) for rank in range(size)]

    def work(group: DaskGroup) -> Any:
        sums = [group.allreduce(arrays[group.rank].copy()) for _ in range(2)]
        values = [group.broadcast(f"of {group.rank}", rank=root) for root in range(size)]
        return [*map(np.ndarray.tobytes, sums), values]

    found = in_threads(size, work)
    assert all(one == found[0] for one in found)
    np.testing.assert_allclose(np.frombuffer(found[0][0]), sum(arrays), rtol=1e-14)
    assert found[0][2] == [f"of {root}" for root in range(size)]


class Exchanges:
    """Those of two ranks, the other of which never comes, or is lost."""

    def __init__(self, lost: bool = False) -> None:
        self.lost = lost

    def __len__(self) -> int:
        return 2

    def __getitem__(self, rank: int) -> Any:
        if rank > 1:
            raise IndexError
        return self

    @property
    def swap(self) -> Any:
        """A call without an answer; an actor that is lost has no methods."""
        if self.lost:
            raise RuntimeError("Worker holding Actor was lost. Status: error")
        return lambda *_: self

    def result(self, timeout: float) -> None:
        """Wait in vain."""
        raise TimeoutError


@pytest.mark.parametrize(
    ("lost", "sentence"),
    [(False, "^Rank 1 of 2 waited 0 s for rank 0"), (True, "^The worker of rank 0 was lost")],
)
def test_a_rank_says_why_it_waits_no_longer(
    lost: bool, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "get_worker", MagicMock())
    monkeypatch.setattr(DaskGroup, "_check_not_cancelled", lambda self: None)
    group = DaskGroup(1, Exchanges(lost), 0.0)  # type: ignore[arg-type]
    with pytest.raises(BackendError, match=sentence):
        group.allreduce(np.ones(2))
    if lost:
        with pytest.raises(BackendError, match=sentence):
            group.check_wanted()


def in_threads(size: int, work: Any) -> list[Any]:
    """What ``work`` returns for each rank of a group on workers that are threads of this
    process.
    """
    with (
        LocalCluster(
            n_workers=size, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        workers = list(client.nthreads())
        exchanges = [
            client.submit(Exchange, actor=True, workers=[at], pure=False) for at in workers
        ]
        actors = client.gather(exchanges)

        def rank(number: int) -> Any:
            return work(DaskGroup(number, actors, 60.0))

        tasks = [client.submit(rank, k, workers=[at], pure=False) for k, at in enumerate(workers)]
        return client.gather(tasks)


def endless_fit(client: Any, cluster_size: int) -> tuple[threading.Thread, list[BaseException]]:
    """A fit in a thread, all of whose ranks have begun, and the error that ends it."""
    endless = {**SETTINGS, "max_iter": 100_000, "n_iter_no_change": 100_000, "timeout": 300}
    model = xpnet.dask.MLPClassifier(client=client, **endless)
    raised: list[BaseException] = []

    def fit() -> None:
        try:
            model.fit(*in_blocks(*rows()))
        except BaseException as error:  # noqa: BLE001  looked at by the test
            raised.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    until(lambda: len(executing(client)) == cluster_size or bool(raised), "ranks have not begun")
    assert not raised, raised
    time.sleep(1)
    return thread, raised


def until(fact: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    """Wait for a fact; fail where it does not come true."""
    limit = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < limit, otherwise
        time.sleep(0.1)


def executing(client: Any) -> list[str]:
    """Ranks that some worker is executing, in a thread of its pool or in one of their own."""
    found = client.run(
        lambda dask_worker: [str(state.key) for state in dask_worker.state.all_running_tasks]
    )
    return [key for keys in found.values() for key in keys if "_rank" in key]


@pytest.mark.attack
@pytest.mark.parametrize("lost", [0, 1])
def test_a_worker_that_is_lost_ends_the_fit(lost: int) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):

        def has_rank_0(dask_worker: Any) -> bool:
            tasks = [
                task for task in dask_worker.state.all_running_tasks if "_rank" in str(task.key)
            ]
            return any(task.run_spec.args[0] == 0 for task in tasks)

        thread, raised = endless_fit(client, 2)
        rank_0 = client.run(has_rank_0)
        of_rank = sorted(rank_0, key=lambda at: not rank_0[at])
        began = time.monotonic()
        psutil.Process(client.run(os.getpid)[of_rank[lost]]).kill()
        thread.join(60)
        assert not thread.is_alive() and time.monotonic() - began < 30
        assert isinstance(raised[0], BackendError), raised
        assert f"rank {lost} of 2, was lost while it trained. Look into its log" in str(raised[0])
        until(lambda: not executing(client), "a rank goes on without the one that was lost", 10)


@pytest.mark.attack
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_client_frees_all_workers(workers: int) -> None:
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        thread, raised = endless_fit(client, workers)
        number, interrupt = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(number, interrupt)
        thread.join(30)
        assert isinstance(raised[0], KeyboardInterrupt)
        until(lambda: not executing(client), "a rank goes on without its client", 10)
        xpnet.dask.MLPClassifier(client=client, **SETTINGS).fit(*in_blocks(*rows()))


def test_two_fits_at_a_time_end_both(client: Any) -> None:
    errors: list[BaseException] = []

    def fit() -> None:
        try:
            xpnet.dask.MLPClassifier(client=client, **SETTINGS).fit(*in_blocks(*rows()))
        except BaseException as error:  # noqa: BLE001  looked at below
            errors.append(error)

    threads = [threading.Thread(target=fit, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive(), errors
    assert not errors


@pytest.mark.parametrize(
    "worker, wanted",
    [
        (
            SimpleNamespace(
                state=SimpleNamespace(tasks={"fit": SimpleNamespace(state="executing")})
            ),
            True,
        ),
        (
            SimpleNamespace(
                state=SimpleNamespace(tasks={"fit": SimpleNamespace(state="cancelled")})
            ),
            False,
        ),
        (SimpleNamespace(state=SimpleNamespace(tasks={})), False),
        (SimpleNamespace(), None),
        (SimpleNamespace(state=SimpleNamespace()), None),
        (SimpleNamespace(state=SimpleNamespace(tasks={"fit": object()})), None),
    ],
)
def test_a_rank_asks_whether_the_client_still_waits(worker: Any, wanted: bool | None) -> None:
    """Where a version of Dask keeps its tasks elsewhere, nothing is known: the time-out ends the
    fit.
    """
    assert is_wanted(worker, "fit") is wanted


def test_the_time_out_says_what_dask_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = SimpleNamespace(get_current_task=lambda: "fit")
    monkeypatch.setattr(exchange, "get_worker", lambda: worker)
    group = DaskGroup(0, [MagicMock(), MagicMock()], 3.0)
    assert "waited 3 s for rank 1" in group._timed_out(1)
    assert "version of Dask does not say" in group._timed_out(1)
    worker.state = SimpleNamespace(tasks={"fit": SimpleNamespace(state="executing")})
    assert "version of Dask" not in group._timed_out(1)


def test_exposures_are_refused_before_any_worker_trains() -> None:
    X, y = in_blocks(*rows())
    model = xpnet.dask.MLPRegressor("poisson", **SETTINGS)
    with pytest.raises(InputError, match="`exposure` must be left out for rows on a cluster"):
        model.fit(X, y, exposure=np.ones(150))
