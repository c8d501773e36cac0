"""Many networks trained by one call are those that are trained each by itself."""

import signal
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from xpnet_numba.step import many, step

import xpnet

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((300, 7)).astype("float32"), RNG.integers(0, 3, 300)
ROWS = [np.flatnonzero(np.arange(300) % 3 != fold) for fold in range(3)]


def networks_of(
    count: int = 5, hidden: Any = (9, 6), **options: Any
) -> list[xpnet.FeedforwardNeuralNet]:
    """Networks that differ in seed, learning rate and penalty."""
    given_to_all: dict[str, Any] = {"optimizer": "adam", "dtype": "float32", **options}
    rates, penalties = np.geomspace(1e-3, 1e-1, count), [1e-3 * (k % 2) for k in range(count)]
    return [
        xpnet.FeedforwardNeuralNet(7, hidden, 3, rate, **{"rng": k, "l2": l2, **given_to_all})
        for k, (rate, l2) in enumerate(zip(map(float, rates), penalties, strict=True))
    ]


def assert_same(found: list[Any], wanted: list[Any]) -> None:
    """Equal bits: parameters, gradients, the optimizer, losses and what the streams give next."""
    for k, (one, other) in enumerate(zip(found, wanted, strict=True)):
        for name, array in other.params.items():
            np.testing.assert_array_equal(one.params[name], array, err_msg=f"network {k}: {name}")
            np.testing.assert_array_equal(
                one.gradients[name], other.gradients[name], err_msg=f"gradient {k}: {name}"
            )
        assert one.history.loss == other.history.loss
        assert one.history.learning_rate == other.history.learning_rate
        if isinstance(one.rng, np.random.Generator):
            assert one.rng.bit_generator.state == other.rng.bit_generator.state
        one.fit(X, Y, epochs=1, batch_size=100)
        other.fit(X, Y, epochs=1, batch_size=100)
        np.testing.assert_array_equal(one.params["W1"], other.params["W1"])


@contextmanager
def side_by_side() -> Iterator[list[int]]:
    """Count the networks that train side by side."""
    counts: list[int] = []
    epoch = many.ManyTrainings.epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            many.ManyTrainings,
            "epoch",
            lambda self, k, rates: counts.append(len(rates)) or epoch(self, k, rates),
        )
        yield counts


SETTINGS: dict[str, dict[str, Any]] = {
    "Adam": {},
    "momentum, float64": {"optimizer": xpnet.SGD(momentum=0.9), "dtype": "float64"},
    "RMSprop": {"optimizer": "rmsprop"},
    "Nadam": {"optimizer": "nadam"},
    "Lion, members": {"optimizer": "lion", "members": 2},
    "dropout": {"dropout": 0.2},
    "kept inputs": {"activation": "gelu"},
    "members": {"members": 3},
    "members that share scales": {"members": 2, "member_scales": "first"},
    "no hidden layer": {"hidden": ()},
}


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("batch_size", [64, None])
def test_the_result_is_that_of_a_loop_to_the_bit(
    options: dict[str, Any], batch_size: int | None
) -> None:
    found, wanted = networks_of(**options), networks_of(**options)
    with side_by_side() as counts:
        histories = xpnet.fit_many(found, X, Y, epochs=3, batch_size=batch_size)
    assert counts == [5, 5, 5]
    assert [history.epochs for history in histories] == [3] * 5
    for network in wanted:
        network.fit(X, Y, epochs=3, batch_size=batch_size)
    assert_same(found, wanted)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_fit_many_has_the_bits_of_a_loop(data: st.DataObject) -> None:
    count, batch_size = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 320))
    options = {
        "epochs": data.draw(st.integers(0, 3)),
        "batch_size": batch_size,
        "shuffle": data.draw(st.booleans()),
    }
    rows = [
        data.draw(st.lists(st.integers(-300, 299), min_size=1, max_size=40).map(np.array))
        if k % 3
        else None
        for k in range(count)
    ]
    found, wanted = networks_of(count), networks_of(count)
    xpnet.set_threads(data.draw(st.integers(1, 4)))
    try:
        xpnet.fit_many(found, X, Y, rows=rows if count > 1 else None, **options)
    finally:
        xpnet.set_threads(None)
    for network, of_one in zip(wanted, rows, strict=True):
        part = (X, Y) if of_one is None or count == 1 else (X[of_one], Y[of_one])
        network.fit(*part, **options)
    assert_same(found, wanted)


@pytest.mark.parametrize("batch_size", [None, 1000])
def test_only_some_networks_have_rows_of_their_own(batch_size: int | None) -> None:
    """The first takes the rows as they lie and gathers nothing; the workspace has room for what the
    others gather.
    """
    wide, labels = RNG.standard_normal((20_000, 50)).astype("float32"), RNG.integers(0, 3, 20_000)
    drawn = [None, *RNG.integers(0, len(wide), (3, len(wide)))]

    def made() -> list[xpnet.FeedforwardNeuralNet]:
        return [xpnet.FeedforwardNeuralNet(50, 4, 3, rng=k, dtype="float32") for k in range(4)]

    found, wanted = made(), made()
    with side_by_side() as counts:
        xpnet.fit_many(
            found, wide, labels, epochs=2, batch_size=batch_size, shuffle=False, rows=drawn
        )
    assert counts == [4, 4]
    for network, of_one in zip(wanted, drawn, strict=True):
        part = (wide, labels) if of_one is None else (wide[of_one], labels[of_one])
        network.fit(*part, epochs=2, batch_size=batch_size, shuffle=False)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.params["W1"], other.params["W1"])
        assert one.history.loss == other.history.loss


def test_folds_sparse_rows_and_soft_labels() -> None:
    sparse, soft = scipy.sparse.csr_array(X * (X > 0.5)), np.eye(3, dtype="float32")[Y]
    found, wanted = networks_of(3), networks_of(3)
    with side_by_side() as counts:
        xpnet.fit_many(found, sparse, soft, epochs=2, batch_size=50, rows=ROWS)
    assert counts == [3, 3]
    for network, of_one in zip(wanted, ROWS, strict=True):
        network.fit(sparse[of_one], soft[of_one], epochs=2, batch_size=50)
    assert_same(found, wanted)


def test_networks_of_several_kinds_train_in_groups() -> None:
    def made() -> list[xpnet.FeedforwardNeuralNet]:
        others = networks_of(2, backend="numpy"), networks_of(1, compiled=False)
        return [*networks_of(2), *networks_of(3, (4,)), *others[0], *others[1]]

    found, wanted = made(), made()
    with side_by_side() as counts:
        xpnet.fit_many(found, X, Y, epochs=1, batch_size=100)
    assert sorted(counts) == [2, 3]
    for network in wanted:
        network.fit(X, Y, epochs=1, batch_size=100)
    assert_same(found, wanted)


def test_the_memory_of_a_thread_does_not_grow_with_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed: list[int] = []
    monkeypatch.setattr(step, "allowed_threads", lambda: 256)
    monkeypatch.setattr(many, "check_memory", lambda count, what: needed.append(count))
    xpnet.fit_many(networks_of(2), X, Y, epochs=1, batch_size=50)
    assert len(needed) == 1 and needed[0] < 2**22


@pytest.mark.parametrize(
    "make", [np.random.default_rng, np.random.RandomState], ids=["Generator", "RandomState"]
)
def test_networks_that_share_a_stream_draw_from_it_in_turn(make: Any) -> None:
    found, wanted = networks_of(3, rng=make(0)), networks_of(3, rng=make(0))
    with side_by_side() as counts:
        xpnet.fit_many(found, X, Y, epochs=2, batch_size=100)
    assert not counts
    for network in wanted:
        network.fit(X, Y, epochs=2, batch_size=100)
    assert_same(found, wanted)


def test_a_schedule_sees_the_losses_of_its_own_network() -> None:
    def made() -> list[xpnet.FeedforwardNeuralNet]:
        def schedule(epoch: int, losses: Any) -> float:
            return 0.01 / (1 + epoch) * (losses[-1] if losses else 1.0)

        return [
            xpnet.FeedforwardNeuralNet(7, 5, 3, schedule, rng=k, dtype="float32") for k in range(3)
        ]

    found, wanted = made(), made()
    xpnet.fit_many(found, X, Y, epochs=4, batch_size=50)
    for network in wanted:
        network.fit(X, Y, epochs=4, batch_size=50)
    assert_same(found, wanted)


def test_networks_go_on_where_they_were() -> None:
    found, wanted = networks_of(), networks_of()
    for part in (1, 2):
        xpnet.fit_many(found, X, Y, epochs=part, batch_size=70)
    for network in wanted:
        network.fit(X, Y, epochs=3, batch_size=70)
    assert_same(found, wanted)


@pytest.mark.parametrize("rows", [1, 2, 3, 255, 256, 257, 70_001])
def test_orders_are_those_that_numpy_draws(rows: int) -> None:
    stream, shuffle = np.random.default_rng(rows), many.threads.entry(many.shuffle, many.SHUFFLE)
    stream.integers(0, 5, dtype="int32")  # of 64 bits 32 are left
    words, order = many.words_of(stream), np.arange(rows)
    for _ in range(3):
        order = np.arange(rows)
        shuffle(words, order)
        np.testing.assert_array_equal(order, stream.permutation(rows))
    other = np.random.default_rng()
    many.set_words(other, words)
    assert other.bit_generator.state == stream.bit_generator.state


def test_ctrl_c_leaves_each_network_after_a_whole_epoch() -> None:
    for seconds in (0.2, 2.0, 20.0):  # a busy machine makes no epoch in the shorter times
        found, wanted = networks_of(40, (64, 64)), networks_of(40, (64, 64))
        timer = threading.Timer(seconds, signal.raise_signal, [signal.SIGINT])
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            xpnet.fit_many(found, X, Y, epochs=100_000, batch_size=10)
        timer.join()
        epochs = sum(network.history.epochs for network in found)
        if epochs:
            break
    assert epochs > 0
    for one, other in zip(found, wanted, strict=True):
        other.fit(X, Y, epochs=one.history.epochs, batch_size=10)
    assert_same(found, wanted)


def test_an_error_leaves_each_network_after_a_whole_epoch() -> None:
    def fails(epoch: int, losses: Any) -> float:
        if epoch == 2:
            raise RuntimeError("no rate")
        return 0.01

    found, wanted = networks_of(3), networks_of(3)
    for networks in (found, wanted):
        networks[1] = xpnet.FeedforwardNeuralNet(
            7, (9, 6), 3, fails, rng=1, optimizer="adam", dtype="float32"
        )
    with pytest.raises(RuntimeError, match="no rate"):
        xpnet.fit_many(found, X, Y, epochs=3, batch_size=100)
    for one, other in zip(found, wanted, strict=True):
        assert one.history.epochs == 2
        other.fit(X, Y, epochs=2, batch_size=100)
        np.testing.assert_array_equal(one.params["W1"], other.params["W1"])
        assert one.rng.bit_generator.state == other.rng.bit_generator.state


def test_a_callback_may_call_a_network_that_waits_for_its_training() -> None:
    first, second = sorted(networks_of(2), key=id)
    shapes = []

    def call_the_other(training: Any) -> None:
        if training.done == 1:
            together.start()
            together.join(0.3)  # it waits for the end of this training
            shapes.append(first.predict(X).shape)

    together = threading.Thread(
        target=lambda: xpnet.fit_many([first, second], X, Y, epochs=1, batch_size=100), daemon=True
    )
    alone = threading.Thread(
        target=lambda: second.fit(X, Y, epochs=2, batch_size=100, callbacks=[call_the_other]),
        daemon=True,
    )
    alone.start()
    alone.join(20)
    assert shapes == [(300, 3)]
    together.join(20)
    assert (first.history.epochs, second.history.epochs) == (1, 3)


def test_networks_of_another_dtype_share_one_copy_of_the_rows() -> None:
    rows, labels = RNG.standard_normal((20_000, 7)), RNG.integers(0, 3, 20_000)
    networks = networks_of(30, (2,))
    xpnet.fit_many(networks, rows[:100], labels[:100], epochs=1, batch_size=50)  # compiles
    tracemalloc.start()
    try:
        xpnet.fit_many(networks, rows, labels, epochs=1)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 5 * rows.nbytes  # a copy for each would be 15 times as large


def test_what_cannot_be_trained_is_refused_before_anything_is() -> None:
    networks = networks_of(2)
    for message, network, options in [
        ("once; got one twice", [networks[0], networks[0]], {}),
        ("one entry for each of 2 networks; got 1", networks, {"rows": [None]}),
        ("at least one row", networks, {"rows": [[0], []]}),
        ("`epochs` must be at least 0", networks, {"epochs": -1}),
        ("`batch_size` at least 1", networks, {"batch_size": -3}),
        ("`batch_size` at least 1", networks, {"batch_size": 0}),
    ]:
        with pytest.raises(xpnet.InputError, match=message):
            xpnet.fit_many(network, X, Y, **{"epochs": 1, **options})
    with pytest.raises(xpnet.InputError, match="300 is out of bounds"):
        xpnet.fit_many(networks, X, Y, epochs=1, rows=[[0], [300]])
    spoilt = X.copy()
    spoilt[5, 2] = np.nan
    with pytest.raises(xpnet.InputError, match="`X` must hold finite numbers"):
        xpnet.fit_many(networks, spoilt, Y, epochs=1, batch_size=50)
    assert not any(network.history.epochs for network in networks)
    assert xpnet.fit_many([], X, Y, epochs=1) == []


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(xpnet.InputError, match=r"`networks` must hold networks.*got 1, int"):
        xpnet.fit_many([1, 2], X, Y, epochs=1)  # type: ignore[list-item]


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    "rows, entry", [([[0, 999]], r"\[0, 999\]"), ([999], "999"), ([[[0, 1]]], r"\[\[0, 1\]\]")]
)
def test_rows_that_do_not_exist_are_named(rows: Any, entry: str) -> None:
    (network,) = networks_of(1)
    with pytest.raises(xpnet.InputError, match=f"`rows` must .*got {entry} as entry 0"):
        xpnet.fit_many([network], X, Y, epochs=1, rows=rows)
    assert network.history.epochs == 0
