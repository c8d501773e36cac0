"""Training on several ranks gives the answer of one process."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.libraries import Library
from helpers.ranks.threads_group import ThreadsGroup, on_ranks

import xpnet
from xpnet.training import EarlyStopping, Training

SHARDS = {1: (60,), 2: (57, 3), 3: (53, 7, 0), 4: (0, 20, 39, 1)}
"""How many of the rows each rank has, by the number of ranks."""

DATA_OF_RANKS = ("near", "same", "own")
"""All ranks have the same rows, and memory in common; the same rows alone; rows of their own."""

SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam"},
    "penalty": {"optimizer": xpnet.SGD(momentum=0.9, nesterov=True), "l2": 0.1},
    "deep": {"hidden_size": (9, 6), "activation": ("tanh", "logistic"), "optimizer": "adamw"},
    "reference": {"compiled": False},
    "members": {"members": 3, "hidden_size": (9, 6), "optimizer": "adam", "l2": 0.1},
    "members, mini": {"members": 5, "member_scales": "first", "dropout": 0.2},
    "members, reference": {"members": 2, "dropout": 0.2, "compiled": False},
}


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def data(weighted: bool = False) -> tuple[Any, Any, Any]:
    """X (60, 5), y (60,) of three classes, weights (60,) or None."""
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    return X, y, rng.uniform(0, 3, 60) if weighted else None


def cut(size: int, rank: int, own: bool, *arrays: Any) -> list[Any]:
    """What a rank is given of each array."""
    ends = np.cumsum(SHARDS[size])
    part = slice(ends[rank] - SHARDS[size][rank], ends[rank]) if own else slice(None)
    return [None if array is None else array[part] for array in arrays]


def train(
    X: Any, y: Any, w: Any, *, settings: dict[str, Any], batch_size: int | None = 8, **options: Any
) -> Any:
    """A network's history and parameters after three epochs."""
    settings = {"hidden_size": 7, "learning_rate": 0.05, **settings}
    model = xpnet.FeedforwardNeuralNet(5, output_size=3, rng=np.random.default_rng(0), **settings)
    rng = np.random.default_rng(1)
    history = model.fit(
        X,
        y,
        epochs=3,
        batch_size=batch_size,
        sample_weight=w,
        rng=rng,
        validation=(X, y),
        **options,
    )
    return history, {name: np.array(value) for name, value in model.params.items()}


def check_same(size: int, way: str, work: Callable[..., Any], *arrays: Any) -> None:
    """``work`` on the rows of all ranks gives every rank the history and the parameters of one
    process.
    """
    history, params = work(*arrays)
    own = way == "own"
    found = on_ranks(
        size,
        lambda group: work(*cut(size, group.rank, own, *arrays)),
        data="own" if own else "same",
        near=way == "near",
    )
    for other_history, other_params in found:
        close(other_history.loss, history.loss)
        close(other_history.validation_loss, history.validation_loss)
        for name, value in params.items():
            close(other_params[name], value)
            assert np.array_equal(other_params[name], found[0][1][name])


@pytest.mark.parametrize(
    ("size", "way", "weighted"),
    [
        *((2, "near", False), (4, "near", True)),
        (3, "same", True),
        *((2, "own", True), (3, "own", False), (4, "own", True)),
    ],
)
@pytest.mark.parametrize("name", SETTINGS)
def test_networks(name: str, weighted: bool, size: int, way: str) -> None:
    check_same(size, way, lambda X, y, w: train(X, y, w, settings=SETTINGS[name]), *data(weighted))


def test_batches_of_each_member_are_refused_on_several_ranks() -> None:
    X, y, _ = data()

    def work(group: ThreadsGroup) -> None:
        with pytest.raises(xpnet.InputError, match="`own_batches` must be False.*got True"):
            train(X, y, None, settings={"members": 2}, own_batches=True)

    on_ranks(2, work)


@pytest.mark.parametrize("scales", ["all", "first"])
def test_blocks_of_members_are_shared_among_ranks(
    scales: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each block of members is worth a core, ranks have some of them each."""
    monkeypatch.setattr("xpnet_numba.step.plan.GRAIN", 1)
    settings = {"members": 7, "member_scales": scales, "dropout": 0.25, "hidden_size": (11, 5)}
    check_same(3, "near", lambda X, y, w: train(X, y, w, settings=settings), *data(True))


@pytest.mark.parametrize(
    "size, way", [(2, "near"), (2, "same"), (4, "same"), (2, "own"), (4, "own")]
)
@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"compiled": False}], ids=str)
def test_dropout(options: dict[str, Any], size: int, way: str) -> None:
    settings = {"dropout": 0.3, "hidden_size": (7, 5), "compiled": options.get("compiled", True)}
    shuffle = options.get("shuffle", True)
    check_same(
        size, way, lambda X, y, w: train(X, y, w, settings=settings, shuffle=shuffle), *data()
    )


@pytest.mark.parametrize("way", DATA_OF_RANKS)
@pytest.mark.parametrize(
    "options", [{"batch_size": 59}, {"batch_size": None}, {"batch_size": 8, "shuffle": False}]
)
def test_last_batch_smaller_than_the_ranks(options: dict[str, Any], way: str) -> None:
    check_same(
        4, way, lambda X, y, w: train(X, y, w, settings=SETTINGS["penalty"], **options), *data(True)
    )


def test_no_generator_is_rank_0s() -> None:
    """Without ``rng`` every rank would draw its own weights and orders."""
    X, y, _ = data()

    def work(group: ThreadsGroup) -> Any:
        # Each rank has a stream of its own, as processes have that were started without a seed.
        model = xpnet.FeedforwardNeuralNet(
            5, 7, 3, rng=np.random.default_rng(group.rank), optimizer="adam"
        )
        orders: list[Any] = []

        def note(training: Training) -> None:
            orders.append({name: np.array(value) for name, value in training.step.params.items()})

        model.fit(
            X, y, epochs=3, batch_size=8, rng=np.random.RandomState(group.rank), callbacks=[note]
        )
        return orders

    found = on_ranks(3, work)
    for epoch in range(3):
        for other in found[1:]:
            assert all(
                np.array_equal(other[epoch][name], value) for name, value in found[0][epoch].items()
            )


def test_one_rank_that_stops_stops_all() -> None:
    X, y, _ = data()

    def work(group: ThreadsGroup) -> int:
        def stop(training: Training) -> None:
            training.stop = group.rank == 1 and training.done == 2

        return xpnet.LogisticRegression(5, 3).fit(X, y, epochs=5, callbacks=[stop]).epochs

    assert on_ranks(3, work) == [2, 2, 2]


@pytest.mark.parametrize("near", [True, False])
def test_data_that_are_not_finite_are_refused_on_every_rank(near: bool) -> None:
    X, y, _ = data()
    X[7, 3] = np.nan

    def work(group: ThreadsGroup) -> list[Any]:
        model = xpnet.FeedforwardNeuralNet(5, 7, 3, rng=np.random.default_rng(0))
        before = [np.array(value) for value in model.params.values()]
        with pytest.raises(xpnet.InputError, match="finite"):
            model.fit(X, y, epochs=3, batch_size=8)
        return [np.array_equal(a, b) for a, b in zip(before, model.params.values(), strict=True)]

    assert on_ranks(3, work, near=near) == [[True] * 4] * 3


@pytest.mark.parametrize("near", [True, False])
def test_nan_on_any_rank_is_refused(near: bool) -> None:
    """Rank 0 computes the row in the first epoch, so that only a later loss would not be finite."""
    X, y, _ = data()
    order = np.random.default_rng(1).permutation(60)

    def work(group: ThreadsGroup) -> None:
        mine = X.copy()
        if group.rank == 1:
            mine[order[0], 3] = np.nan
        model = xpnet.LogisticRegression(5, 3)
        model.fit(mine, y, epochs=3, batch_size=10, rng=np.random.default_rng(1))

    with pytest.raises(xpnet.InputError, match="finite"):
        on_ranks(2, work, near=near)


@pytest.mark.parametrize("way", DATA_OF_RANKS)
@pytest.mark.parametrize(
    "what, said",
    [
        ("dtype", "rank 1 has dtype = 'float64', rank 0 has 'float32'"),
        ("hidden_size", r"rank 1 has widths = \(5, 8, 3\), rank 0 has \(5, 7, 3\)"),
        ("l2", "rank 1 has l2 = 0.5, rank 0 has 0.0"),
        ("batch_size", "rank 1 has batch_size = 9, rank 0 has 8"),
        ("epochs", "rank 1 has epochs = 4, rank 0 has 3"),
        ("sample_weight", "rank 1 has weighted = True, rank 0 has False"),
    ],
)
def test_ranks_that_differ_are_named_on_every_rank(what: str, said: str, way: str) -> None:
    X, y, _ = data()
    network: dict[str, Any] = {"hidden_size": 7, "dtype": "float32", "l2": 0.0}
    fit: dict[str, Any] = {"batch_size": 8, "epochs": 3, "sample_weight": None}
    other: dict[str, Any] = {
        "dtype": "float64",
        "hidden_size": 8,
        "l2": 0.5,
        "batch_size": 9,
        "epochs": 4,
    }
    other["sample_weight"] = np.ones(60)

    def work(group: ThreadsGroup) -> bool:
        changed = {what: other[what]} if group.rank == 1 else {}
        settings = network | {name: value for name, value in changed.items() if name in network}
        model = xpnet.FeedforwardNeuralNet(
            5, output_size=3, rng=np.random.default_rng(0), **settings
        )
        with pytest.raises(xpnet.InputError, match=said):
            model.fit(X, y, **fit | {name: value for name, value in changed.items() if name in fit})
        return True

    assert (
        on_ranks(3, work, data="own" if way == "own" else "same", near=way == "near") == [True] * 3
    )


def test_ranks_that_share_rows_have_as_many() -> None:
    X, y, _ = data()

    def work(group: ThreadsGroup) -> None:
        xpnet.LogisticRegression(5, 3).fit(
            X[group.rank :], y[group.rank :], epochs=1, batch_size=10
        )

    with pytest.raises(xpnet.InputError, match="rank 1 has rows = 59, rank 0 has 60"):
        on_ranks(2, work)


def test_ranks_that_adopt_other_dtypes_are_refused() -> None:
    """A network takes on the dtype of its rows, and the file of one rank may be of another."""
    X, y, _ = data()

    def work(group: ThreadsGroup) -> None:
        model = xpnet.FeedforwardNeuralNet(5, 7, 3, rng=np.random.default_rng(0))
        model.fit(X.astype("float32") if group.rank else X, y, epochs=1, batch_size=10)

    with pytest.raises(
        xpnet.InputError, match="rank 1 has dtype = 'float32', rank 0 has 'float64'"
    ):
        on_ranks(2, work, data="own")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(
    "way, settings, weighted, sums",
    [
        ("own", {}, False, 8 + 1),
        ("own", {}, True, 8 + 2),
        ("own", {"max_grad_norm": 0.1}, False, 8 + 1),
        ("own", {"max_grad_norm": 0.1}, True, 8 + 2),
        ("same", {}, False, 8 + 1),
        ("same", {"max_grad_norm": 0.1}, True, 8 + 1),
        ("near", {}, False, 0),
        ("near", {}, True, 0),
        ("near", {"max_grad_norm": 0.1}, False, 0),
        ("near", {"max_grad_norm": 0.1}, True, 0),
    ],
)
def test_a_step_of_training_takes_one_sum(
    way: str, settings: dict[str, Any], weighted: bool, sums: int, size: int
) -> None:
    """An epoch of eight batches: one sum each and one for the loss, and one to know who stops.

    Weights of rows that each rank has alone take another one, and batches in common memory none.
    Rank 0 tells its parameters after each epoch, or in common memory how many threads it uses.
    """
    X, y, w = data(weighted)

    def work(group: ThreadsGroup) -> Any:
        counts = []
        for epochs in (2, 3):
            group.calls.clear()
            model = xpnet.MLPClassifier(
                (7,), batch_size=8, max_iter=epochs, random_state=0, **settings
            )
            model.fit(*cut(size, group.rank, way == "own", X, y, w))
            counts.append(group.calls.copy())
        return counts[1]["allreduce"] - counts[0]["allreduce"], counts[1]["broadcast"] - counts[0][
            "broadcast"
        ]

    found = on_ranks(size, work, data="own" if way == "own" else "same", near=way == "near")
    assert found == [(sums + 1, 1)] * size


@pytest.mark.parametrize("kind", [xpnet.FeedforwardNeuralNet, xpnet.MLPClassifier])
def test_why_names_the_ranks_and_how_they_are_joined(kind: Any) -> None:
    X, y, _ = data()

    def work(group: ThreadsGroup) -> Any:
        if kind is xpnet.MLPClassifier:
            return xpnet.MLPClassifier((4,), max_iter=1000, tol=1.0).fit(X, y)
        model = xpnet.FeedforwardNeuralNet(5, 4, 3, rng=0)
        model.fit(X, y, epochs=1)
        return model

    for model in on_ranks(3, work):
        assert model.why_.endswith("; trained on 3 ranks, joined by threads of one process")
        assert pickle.loads(pickle.dumps(model)).why_.endswith("joined by threads of one process")
    model.fit(X, y, **({} if kind is xpnet.MLPClassifier else {"epochs": 1}))
    assert "ranks" not in model.why_


def test_early_stopping_puts_the_best_back_on_every_rank() -> None:
    def stopped(X: Any, y: Any, w: Any) -> Any:
        return train(
            X, y, w, settings={"learning_rate": 0.7}, callbacks=[EarlyStopping(1, tol=0.3)]
        )

    check_same(3, "near", lambda X, y, w: stopped(X, y, w), *data())


@pytest.mark.parametrize("sizes", [(2, 3), (3, 1), (1, 4)])
def test_another_number_of_ranks_goes_on(sizes: tuple[int, int], tmp_path: Path) -> None:
    X, y, _ = data()

    def work(epochs: int) -> Any:
        model = xpnet.FeedforwardNeuralNet(
            5, 7, 3, rng=np.random.default_rng(0), optimizer="adam", learning_rate=0.05
        )
        model.fit(
            X,
            y,
            epochs=epochs,
            batch_size=8,
            rng=np.random.default_rng(1),
            callbacks=[xpnet.Checkpoint(tmp_path)],
            resume_from=xpnet.Checkpoint.latest(tmp_path),
        )
        return model.history.loss

    on_ranks(sizes[0], lambda group: work(2))
    resumed = on_ranks(sizes[1], lambda group: work(4))
    for path in tmp_path.iterdir():
        path.unlink()
    for losses in resumed:
        close(losses, work(4))


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("trained", [0, 1])
def test_all_ranks_begin_with_the_state_of_rank_0(trained: int, near: bool) -> None:
    """Whichever of them has made updates before, alone: only one has moments, and all must go on
    with rank 0's.
    """
    X, y, _ = data()

    def make(*, before: bool) -> xpnet.FeedforwardNeuralNet:
        model = xpnet.FeedforwardNeuralNet(
            5, 7, 3, rng=np.random.default_rng(0), optimizer="adam", learning_rate=0.05
        )
        if before:
            model.fit(X, y, epochs=1, batch_size=8, rng=np.random.default_rng(2))
        return model

    def losses(model: xpnet.FeedforwardNeuralNet) -> list[float]:
        return model.fit(X, y, epochs=2, batch_size=8, rng=np.random.default_rng(1)).loss[-2:]

    models = [make(before=rank == trained) for rank in range(2)]
    expected = losses(make(before=trained == 0))
    for found in on_ranks(2, lambda group: losses(models[group.rank]), near=near):
        close(found, expected)


def test_a_single_update_and_gradient() -> None:
    X, y, _ = data()

    def work(X: Any, y: Any) -> Any:
        model = xpnet.FeedforwardNeuralNet(5, 7, 3, rng=np.random.default_rng(0), l2=0.3)
        losses = [model.loss(X, y), model.step(X, y), model.gradient(X, y)]
        return losses, {name: np.array(value) for name, value in model.gradients.items()}

    losses, gradients = work(X, y)
    for own in (False, True):
        found = on_ranks(
            3,
            lambda group, own=own: work(*cut(3, group.rank, own, X, y)),
            data="own" if own else "same",
        )
        for other_losses, other_gradients in found:
            close(other_losses, losses)
            for name, value in gradients.items():
                close(other_gradients[name], value)


@pytest.mark.parametrize("way", DATA_OF_RANKS)
def test_arrays_of_any_library(library: Library, way: str) -> None:
    def work(X: Any, y: Any, w: Any) -> Any:
        X, y, w = map(library.make, (X, y, w))
        model = xpnet.FeedforwardNeuralNet(
            5, 7, 3, rng=0, optimizer="adam", l2=0.1, backend=library.backend
        )
        history = model.fit(X, y, epochs=1, batch_size=20, sample_weight=w, validation=(X, y))
        return history, {name: library.numpy(value) for name, value in model.params.items()}

    check_same(3, way, work, *data(True))
