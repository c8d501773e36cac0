"""Rows of a source: which blocks are trained on and which are measured, in numbers."""

import numpy as np
import pytest
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec
from xpnet.data import sources
from xpnet.data.sources import Source
from xpnet.steps import ReferenceStep
from xpnet.training import streamed
from xpnet.training.streamed import BlockOrders, SourceRows, Streamed

BACKEND = NumpyBackend()
SIZES = [3, 2, 4, 1, 2]
Y = np.arange(12) % 2
WEIGHT = np.arange(12) + 1.0


class Numbered(Source):
    """Twelve rows in five blocks: row k is (k, 10 k)."""

    shape = (12, 2)
    dtype = np.dtype("float64")
    starts = np.cumsum([0, *SIZES])

    def read(self, block):
        k = np.arange(self.starts[block], self.starts[block + 1], dtype=float)
        return np.stack([k, 10 * k], axis=1)


class InOrder(Numbered):
    """Blocks that are read from the first to the last."""

    in_order = True


def whole(weight=None):
    return SourceRows.whole(Numbered(), Y, weight)


def test_all_rows_of_a_source():
    rows = whole()
    np.testing.assert_array_equal(rows.sizes, SIZES)
    np.testing.assert_array_equal(rows.blocks, range(5))
    assert rows.count == 12
    assert rows.count_rows_in(np.array([0, 2])) == 7
    empty = SourceRows(Numbered(), Y)
    assert len(empty.blocks) == len(empty.sizes) == 0


@pytest.mark.parametrize(
    "order, fraction, held",
    [
        ([2, 0, 1, 3, 4], 0.5, [2]),  # four rows fit into six, and seven do not
        ([1, 2, 0, 3, 4], 0.5, [1, 2]),  # exactly six
        ([2, 0, 1, 3, 4], 0.01, [2]),  # one block at least
        ([3, 4, 1, 0, 2], 0.67, [1, 3, 4, 0]),
    ],
)
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_whole_blocks_are_held_out(order, fraction, held, weight):
    class GivenOrder(np.random.RandomState):
        def permutation(self, blocks):
            np.testing.assert_array_equal(blocks, range(5))
            return np.array(order)

    training, validation = whole(weight).split(fraction, GivenOrder(0), BACKEND, "float32")
    numbers = np.concatenate([np.arange(12)[start:][:size] for start, size in blocks_of(held)])
    np.testing.assert_array_equal(validation.X, np.stack([numbers, 10 * numbers], axis=1))
    assert validation.X.dtype == np.float32
    np.testing.assert_array_equal(validation.Y, Y[numbers])
    np.testing.assert_array_equal(training.blocks, sorted({*range(5)} - {*held}))
    if weight is None:
        assert validation.weight is None
    else:
        np.testing.assert_array_equal(validation.weight, WEIGHT[numbers])


def blocks_of(numbers):
    """The first row and the number of rows of each block."""
    return [(Numbered.starts[k], SIZES[k]) for k in sorted(numbers)]


def test_no_more_rows_are_held_out_than_a_buffer_has(monkeypatch):
    monkeypatch.setattr(sources, "BUFFER_ROWS", 5)
    training, validation = whole().split(0.9, np.random.RandomState(0), BACKEND, "float64")
    assert 1 <= validation.count <= 5
    assert training.count == 12 - validation.count


def test_one_block_cannot_be_divided():
    rows = SourceRows(Numbered(), Y, None, np.array(SIZES), np.array([2]))
    with pytest.raises(ValueError, match="has a single block"):
        rows.split(0.5, np.random.RandomState(0), BACKEND, "float64")


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_losses_are_measured_piece_by_piece(monkeypatch, weight):
    monkeypatch.setattr(streamed, "PART_BYTES", 3 * 2 * 8)
    parts = list(whole(weight).parts(BACKEND, "float64"))
    np.testing.assert_array_equal(np.concatenate([part.X for part in parts])[:, 0], range(12))
    np.testing.assert_array_equal(np.concatenate([part.Y for part in parts]), Y)
    assert max(part.count for part in parts) == 3
    if weight is not None:
        np.testing.assert_array_equal(np.concatenate([part.weight for part in parts]), WEIGHT)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_no_rows_are_one_empty_piece(weight):
    rows = SourceRows(Numbered(), Y, weight, np.array(SIZES), np.zeros(0, np.int64))
    (part,) = rows.parts(BACKEND, "float32")
    assert part.X.shape == (0, 2) and part.X.dtype == np.float32
    assert part.Y.shape == (0,)
    assert part.weight is None if weight is None else part.weight.shape == (0,)


def test_the_order_of_blocks_and_the_seed_within_buffers():
    rng = np.random.RandomState(4)
    expected = [(rng.permutation(5), rng.randint(2**31)) for _ in range(2)]
    orders = BlockOrders(np.random.RandomState(4), Numbered(), np.arange(5))
    for blocks, seed in expected:
        drawn = orders.permutation(12)
        np.testing.assert_array_equal(drawn.blocks, blocks)
        assert drawn.seed == seed
    in_order = BlockOrders(np.random.RandomState(4), InOrder(), np.arange(5)).permutation(12)
    np.testing.assert_array_equal(in_order.blocks, range(5))
    assert in_order.seed == np.random.RandomState(4).randint(2**31)


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows(monkeypatch):
    monkeypatch.setattr(streamed, "PIECE_BYTES", 5 * 2 * 8)
    received, reports = [], []

    def run_epoch(step, X, Y, *, sample_weight, order, learning_rate, batch_size):
        assert (order, learning_rate, batch_size) == (None, 0.25, 5)
        np.testing.assert_array_equal(sample_weight, X[:, 0] + 1)
        np.testing.assert_array_equal(Y, X[:, 0] % 2)
        received.append(X[:, 0])
        return X[:, 0].mean()

    step = ReferenceStep(NetworkSpec((2, 2), ()), BACKEND, "")
    batches = Streamed(whole(WEIGHT), batch_size=5, shuffle=False, run_epoch=run_epoch)
    batches.report_to(step, reports.append)
    assert batches.epoch(step, 0.25) == pytest.approx(5.5)
    assert [len(piece) for piece in received] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate(received), range(12))
    assert reports == [5, 10, 12]
    assert batches.epochs_at_once(step) == 1


def test_without_a_function_the_step_makes_the_epoch():
    def new_step():
        return ReferenceStep(NetworkSpec((2, 2), (), seed=3), BACKEND, "")

    streaming, alone = new_step(), new_step()
    batches = Streamed(whole(), batch_size=4, shuffle=False)
    loss = batches.epoch(streaming, 0.01)
    assert loss == alone.epoch(
        Numbered().whole(), Y, learning_rate=0.01, batch_size=4, sample_weight=None, order=None
    )
    np.testing.assert_array_equal(streaming.params["W1"], alone.params["W1"])
