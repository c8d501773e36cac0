"""Dropout masks: as many units stay as should, any part of a batch is drawn as in the whole,
nothing repeats.
"""

import numpy as np
import pytest

from xpnet.steps.masks import keep_mask


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_as_many_units_stay_as_should(rate: float) -> None:
    kept = keep_mask((2000, 50), rate, seed=1, t=0, layer=0)
    assert kept.shape == (2000, 50) and kept.dtype == bool
    # Six standard deviations of a mean of 100,000 Bernoulli numbers.
    assert abs(kept.mean() - (1 - rate)) <= 6 * (rate * (1 - rate) / 100_000) ** 0.5


@pytest.mark.parametrize("units", [1, 3, 4, 10])
def test_a_part_is_drawn_as_in_the_whole(units: int) -> None:
    whole = keep_mask((20, units), 0.5, seed=7, t=3, layer=1)
    for first in (0, 1, 2, 5, 16):
        part = keep_mask((4, units), 0.5, seed=7, t=3, layer=1, first_row=first)
        np.testing.assert_array_equal(part, whole[first : first + 4], err_msg=str(first))


def test_updates_layers_and_seeds_have_masks_of_their_own() -> None:
    masks = [
        keep_mask((50, 50), 0.5, seed=seed, t=t, layer=layer)
        for seed in (0, 1, 2**100)
        for t in (0, 1, 1000)
        for layer in (0, 1)
    ]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert 0.4 < (one == other).mean() < 0.6


def test_rows_that_do_not_lie_one_after_the_other() -> None:
    whole = keep_mask((9, 5), 0.5, seed=7, t=3, layer=1)
    places = np.array([4, 0, 8], "int64")
    assert np.array_equal(
        keep_mask((3, 5), 0.5, seed=7, t=3, layer=1, positions=places), whole[places]
    )
    assert keep_mask((0, 5), 0.5, seed=7, t=3, layer=1, positions=places[:0]).shape == (0, 5)
