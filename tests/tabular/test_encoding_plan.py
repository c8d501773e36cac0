"""What an encoder prepares for its rows: once, never too old, and in no pickle."""

import gc
import pickle
from copy import copy, deepcopy
from typing import Any
from weakref import ref

import numpy
import pytest

import xpnet
from xpnet.tabular.encodings.number import MAX_FINITE, NumberConstants
from xpnet.tabular.encodings.plan import plan_of

ROWS = numpy.random.default_rng(0).normal(size=(60, 5))


def plain_bytes(encoder: object) -> bytes:
    """The pickle of an encoder whose strings and arrays are its own."""
    return pickle.dumps(pickle.loads(pickle.dumps(encoder)))


@pytest.mark.parametrize("duplicate", [copy, deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_pickles_and_copies_hold_no_plan(duplicate: Any) -> None:
    encoder = xpnet.TableEncoder(bins=4).fit(ROWS)
    attributes, before = set(vars(encoder)), plain_bytes(encoder)
    expected = encoder.transform(ROWS)
    assert set(vars(encoder)) == attributes
    assert plain_bytes(encoder) == before
    numpy.testing.assert_array_equal(duplicate(encoder).transform(ROWS), expected)


def test_constants_are_gathered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = xpnet.TableEncoder(bins=4).fit(ROWS)
    encoder.transform(ROWS)
    monkeypatch.setattr(NumberConstants, "of", None)
    assert encoder.transform(ROWS[:1]).shape == (1, 25)


def test_an_encoder_that_is_fitted_again_has_another_plan() -> None:
    encoder = xpnet.TableEncoder(bins=4).fit(ROWS)
    encoder.transform(ROWS)
    encoder.fit(ROWS * 3 - 1)
    other = xpnet.TableEncoder(bins=4).fit(ROWS * 3 - 1)
    numpy.testing.assert_array_equal(encoder.transform(ROWS), other.transform(ROWS))
    encoder.transform(ROWS)
    encoder.encodings_ *= 2
    assert encoder.transform(ROWS).shape == (60, 50)


def test_a_plan_ends_with_its_encoder() -> None:
    encoder = xpnet.TableEncoder(bins=4).fit(ROWS)
    plan = ref(plan_of(encoder, encoder.encodings_))
    encoder.transform(ROWS)
    assert plan() is plan_of(encoder, encoder.encodings_)
    del encoder
    gc.collect()
    assert plan() is None


@pytest.mark.parametrize("unusual", [numpy.nan, numpy.inf, -numpy.inf, 2 * MAX_FINITE])
def test_rows_are_encoded_alike_beside_gaps_and_huge_numbers(unusual: float) -> None:
    """Gaps and huge numbers are replaced only where there are some."""
    training = ROWS.copy()
    training[::7, 2] = numpy.nan
    encoder = xpnet.TableEncoder(bins=4).fit(training)
    table = ROWS.copy()
    table[[3, 17, 40], [1, 2, 4]] = unusual
    alone = [encoder.transform(table[row : row + 1]) for row in range(len(table))]
    together = encoder.transform(table)
    numpy.testing.assert_array_equal(together, numpy.vstack(alone))
    numpy.testing.assert_array_equal(
        numpy.delete(together, [3, 17, 40], axis=0),
        encoder.transform(numpy.delete(table, [3, 17, 40], axis=0)),
    )
    assert numpy.isfinite(together).all()
