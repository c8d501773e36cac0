"""The epoch that a network keeps, its mean parameters, and the epochs on all rows, in numbers."""

import numpy
import pytest

from xpnet.tabular.ensemble.best_epoch import Patience, still_falls
from xpnet.tabular.ensemble.refit import ParameterMean, refit_epochs
from xpnet.training import History


@pytest.mark.parametrize(
    ("share", "best", "epochs"),
    [(0.0, 50, 5), (0.2, 10, 7), (0.2, 12, 7), (0.2, 13, 8), (0.5, 0, 5)],
)
def test_patience_grows_with_the_best_epoch(share: float, best: int, epochs: int) -> None:
    assert Patience(5, share).after(best) == epochs
    assert Patience(5).after(best) == 5


@pytest.mark.parametrize(
    ("losses", "falls"),
    [
        ([1.0], False),
        ([2.0, 1.0], True),
        ([1.0, 1.0], False),
        ([1.0, 2.0], False),
        ([2.0, *[1.0] * 9], False),
        ([2.0, *[1.0] * 8, 0.98], True),  # by 0.02 of a fall of 1
        ([2.0, *[1.0] * 8, 0.991], False),  # by 0.009
        ([2.0, *[1.0] * 17, 0.9, 1.0], True),  # the last two of twenty
        ([2.0, *[1.0] * 16, 0.9, 1.0, 1.0], False),
        ([2.0, *[1.0] * 8, 1.1], False),
    ],
)
def test_a_loss_still_falls_where_its_last_epochs_lowered_it(
    losses: list[float], falls: bool
) -> None:
    assert still_falls(losses) is falls


def test_the_last_epochs_count_most_in_the_mean_of_the_parameters() -> None:
    epochs = [numpy.array([1.0, 5.0]), numpy.array([2.0, 0.0]), numpy.array([4.0, 7.0])]
    mean = ParameterMean()
    for epoch in epochs:
        found = mean.add({"W": epoch})
    expected = numpy.average(epochs, axis=0, weights=[0.49, 0.7, 1.0])
    numpy.testing.assert_allclose(found["W"], expected, rtol=1e-12)
    assert mean.weights == pytest.approx(2.19)
    later = ParameterMean.of_epochs({"W": expected}, 3)
    assert later.weights == pytest.approx(2.19)
    numpy.testing.assert_allclose(
        later.add({"W": numpy.array([3.0, 3.0])})["W"],
        numpy.average([*epochs, [3.0, 3.0]], axis=0, weights=[0.343, 0.49, 0.7, 1.0]),
        rtol=1e-12,
    )
    assert ParameterMean().weights == ParameterMean.of_epochs({}, 0).weights == 0.0


@pytest.mark.parametrize(
    ("best", "share", "epochs"),
    [(1, 0.4, 1), (2, 0.4, 2), (5, 0.4, 3), (10, 0.4, 4), (10, 2.0, 10)],
)
def test_epochs_on_all_rows_are_a_share_of_those_before(
    best: int, share: float, epochs: int
) -> None:
    history = History([0.5] * 10, validation_loss=[0.6] * 10)
    assert refit_epochs(best, share, history, 2) == epochs


@pytest.mark.parametrize(
    ("first", "gap", "classes", "made"),
    [
        (9.0, 0.29, 1, True),  # of numbers, whose variance is 1
        (9.0, 0.31, 1, False),
        (9.0, 0.3 * 0.69, 2, True),  # of two classes, log 2
        (9.0, 0.3 * 0.70, 2, False),
        (9.0, 0.3 * 1.60, 5, True),
        (9.0, 0.3 * 1.62, 5, False),
        (-0.5, 0.149, 1, True),  # of a lower first loss
        (0.5, 0.151, 1, False),
    ],
)
def test_rows_that_were_learned_by_heart_are_not_learned_again(
    first: float, gap: float, classes: int, made: bool
) -> None:
    history = History([9.0, 0.25, 9.0], validation_loss=[first, 0.25 + gap, 9.0])
    assert refit_epochs(2, 1.0, history, classes) == (2 if made else 0)
