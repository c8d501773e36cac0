"""The constant prediction, and the choice between it and the networks of a fit, by plain loops."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy
import pytest
from scipy import stats

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import Loss
from xpnet.tabular.rows.constant import (
    Constants,
    are_clearly_positive,
    best_constant,
    has_related_number,
)
from xpnet.tabular.rows.constant_choice import ConstantChoice, ValidatedNetwork
from xpnet.tabular.rows.division import Fold
from xpnet.tabular.rows.nested_choices import losses_of_rows
from xpnet.tabular.rows.table_split import FitRows, TableSplit
from xpnet.training import LabeledRows

ROWS = 12
"""Number of validation rows of each fold."""


def spec_of(loss: Loss, outputs: int, loss_numbers: tuple[float, ...] = ()) -> NetworkSpec:
    """Return a network of one input with a loss."""
    return NetworkSpec((1, outputs), (), loss, loss_numbers=loss_numbers)


NUMBER = spec_of("squared_error", 1)


def simes_p_value(p_values: Sequence[float]) -> float:
    """Return the smallest level at which Simes' test of several hypotheses rejects."""
    ordered = sorted(p_values)
    return min(len(ordered) * p / rank for rank, p in enumerate(ordered, 1))


@pytest.mark.parametrize("seed", range(60))
def test_numbers_are_related_where_pearson_and_simes_say_so(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    numbers = rng.normal(size=(30, 3))
    effect = rng.uniform(0, 0.6)
    source = numbers[:, 0] if seed % 2 else (numbers[:, 1] - numbers[:, 1].mean()) ** 2
    Y = (effect * source + rng.normal(size=30))[:, None]
    centred = numbers - numbers.mean(axis=0)
    p_values = [
        float(stats.pearsonr(column, Y[:, 0]).pvalue) for column in [*centred.T, *(centred**2).T]
    ]
    rows = FitRows(numbers, Y)
    assert has_related_number(numbers, rows, NUMBER) == (simes_p_value(p_values) < 0.05)
    as_many = FitRows(numbers, Y, numpy.full(30, 7.0, numpy.float32))
    assert has_related_number(numbers, as_many, NUMBER) == (simes_p_value(p_values) < 0.05)


def test_both_answers_about_related_numbers_occur() -> None:
    """So that the comparison above says something of both."""
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=(30, 1))
    assert has_related_number(x, FitRows(x, x + 0.5 * rng.normal(size=(30, 1))), NUMBER)
    assert not has_related_number(x, FitRows(x, rng.normal(size=(30, 1))), NUMBER)


@pytest.mark.parametrize("seed", range(40))
def test_weighted_rows_count_as_fewer_rows(seed: int) -> None:
    """Weights of 0 leave rows out, and unequal weights make their number smaller (Kish)."""
    rng = numpy.random.default_rng(seed)
    x, weight = rng.normal(size=40), rng.exponential(size=40) ** 2
    weight[:10] = 0
    labels = (rng.uniform(0, 1) * x + rng.normal(size=40) > 0).astype(numpy.int64)
    count = weight.sum() ** 2 / (weight**2).sum()
    mean = numpy.average(x, weights=weight)
    p_values = []
    for column in (x, (x - mean) ** 2):
        matrix = numpy.cov(column, labels, aweights=weight)
        correlation = matrix[0, 1] / numpy.sqrt(matrix[0, 0] * matrix[1, 1])
        statistic = abs(correlation) * numpy.sqrt((count - 2) / (1 - correlation**2))
        # Both classes have the same correlation, with opposite signs.
        p_values += 2 * [float(2 * stats.t.sf(statistic, count - 2))]
    rows = FitRows(x[:, None], labels, weight)
    labels_spec = spec_of("softmax_cross_entropy", 2)
    assert has_related_number(x[:, None], rows, labels_spec) == (simes_p_value(p_values) < 0.05)


def test_numbers_that_are_constant_or_exact_are_no_error() -> None:
    rng = numpy.random.default_rng(0)
    target = rng.normal(size=(20, 1))
    constant = numpy.full((20, 2), 1e6)
    with numpy.errstate(all="raise"):
        assert not has_related_number(constant, FitRows(constant, target), NUMBER)
        assert has_related_number(target, FitRows(target, target), NUMBER)
        assert not has_related_number(target[:, :0], FitRows(target[:, :0], target), NUMBER)
        two = FitRows(target[:2], target[:2], numpy.array([1.0, 0.0]))
        assert not has_related_number(target[:2], two, NUMBER)


def loss_of_number_by_name(loss: str, output: float, y: float) -> float:
    """Return the loss of a prediction, half of the deviance of a mean."""
    if loss == "poisson":
        return output - y + (y * math.log(y / output) if y else 0.0)
    if loss == "gamma":
        return y / output - 1 - math.log(y / output)
    if loss == "tweedie":  # of power 1.5
        return 2 * (math.sqrt(output) + y / math.sqrt(output)) - 4 * math.sqrt(y)
    if loss == "absolute_error":
        return abs(y - output)
    if loss == "huber":  # of delta 0.7
        error = abs(y - output)
        return error**2 / 2 if error < 0.7 else 0.7 * (error - 0.35)
    return 0.2 * (y - output) if y > output else 0.8 * (output - y)


LOSS_NUMBERS = {"tweedie": (1.5,), "huber": (0.7,), "quantile": (0.2,)}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "loss", ["poisson", "gamma", "tweedie", "absolute_error", "huber", "quantile"]
)
def test_the_constant_has_the_lowest_loss_of_all_numbers(loss: Any, weighted: bool) -> None:
    rng = numpy.random.default_rng(5)
    Y = rng.poisson(2.0, (41, 1)).astype(float)
    if loss != "poisson":
        Y = rng.gamma(2.0, size=(41, 1))
    weight = rng.uniform(0.1, 2.0, 41) if weighted else None
    spec = spec_of(loss, 1, LOSS_NUMBERS.get(loss, ()))
    constant = best_constant(LabeledRows(Y, Y, weight), spec)
    assert constant.shape == (1,)

    def mean_loss(output: float) -> float:
        losses = [loss_of_number_by_name(loss, output, float(y)) for y in Y[:, 0]]
        return float(numpy.average(losses, weights=weight))

    lowest = min(mean_loss(output) for output in numpy.linspace(0.5, 4.0, 3501))
    assert mean_loss(float(constant[0])) <= lowest + 1e-7
    of_rows = losses_of_rows(numpy.full((1, 41, 1), constant), Y, spec)
    wanted = [loss_of_number_by_name(loss, float(constant[0]), float(y)) for y in Y[:, 0]]
    numpy.testing.assert_allclose(of_rows, wanted, rtol=1e-9, atol=1e-12)


def test_a_target_of_one_value_is_its_own_constant() -> None:
    Y = numpy.full((5, 1), 3.0)
    for loss in ("huber", "quantile", "absolute_error", "poisson"):
        spec = spec_of(loss, 1, LOSS_NUMBERS.get(loss, ()))
        numpy.testing.assert_array_equal(best_constant(LabeledRows(Y, Y), spec), [3.0])


def test_the_spread_of_a_target_is_related_to_its_quantiles_alone() -> None:
    """A number tells nothing of the mean, and much of the quantiles on both sides."""
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=(400, 1))
    y = numpy.exp(0.5 * x) * rng.normal(size=(400, 1))
    outer = spec_of("quantile", 2, (0.1, 0.9))
    assert has_related_number(x, FitRows(x, y.repeat(2, axis=1)), outer)
    assert not has_related_number(x, FitRows(x, y), spec_of("absolute_error", 1))


def test_exposures_count_as_precision_and_weights_do_not() -> None:
    """Half of 100 rates has a hundredth of the exposures. An effect that 100 rows show is too weak
    for the 51 rows that such weights would leave."""
    rng = numpy.random.default_rng(0)
    exposure = numpy.where(numpy.arange(100) % 2, 1.0, 0.01)
    x = rng.normal(size=(100, 1))
    x -= numpy.average(x, axis=0, weights=exposure)
    noise = rng.normal(size=(100, 1)) / numpy.sqrt(exposure[:, None])
    y = 5 + 0.3 * x + noise
    spec = spec_of("poisson", 1)
    found = {}
    for name, precision in (("weight", None), ("precision", exposure)):
        rows = FitRows(x, y, exposure, precision)
        found[name] = has_related_number(x, rows, spec)
    assert found == {"weight": False, "precision": True}


def test_means_lie_above_0_by_their_standard_errors() -> None:
    rng = numpy.random.default_rng(0)
    gains = rng.normal(size=25)
    error = float(stats.sem(gains, ddof=0))
    for errors in (0.0, 1.0, 2.0):
        for distance in (-1e-6, 1e-6):
            moved = gains - gains.mean() + errors * error + distance
            for weight in (numpy.ones(25), numpy.full(25, 1e-30, numpy.float32)):
                assert are_clearly_positive(moved, weight, errors) == (distance > 0)
    # One row of half the weight: an error of sqrt(1/4 * 1/4 + 2 * 1/16 * 1/4) around 1/2.
    few, weight = numpy.array([0.0, 1.0, 1.0]), numpy.array([2, 1, 1])
    limit = 0.5 / numpy.sqrt(0.25 * 0.25 + 2 * 0.0625 * 0.25)
    assert are_clearly_positive(few, weight, limit * 0.999)
    assert not are_clearly_positive(few, weight, limit * 1.001)


class Case(NamedTuple):
    """Rows of some folds with networks, and the loss of an output."""

    choice: ConstantChoice
    constants: list[numpy.ndarray]
    targets: list[numpy.ndarray]
    weights: list[numpy.ndarray]
    losses: Any


def loss_of_number(output: numpy.ndarray, target: numpy.ndarray) -> float:
    return float(((output - target) ** 2).sum()) / 2


def loss_of_label(output: numpy.ndarray, target: int) -> float:
    return float(-numpy.log(output[target]))


def random_case(seed: int) -> Case:
    """Return folds whose networks are better or worse than their constants by about an error."""
    rng = numpy.random.default_rng(seed)
    folds, outputs = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    of_labels = bool(seed % 2)
    count = folds * ROWS
    Y: Any = rng.integers(0, outputs, count) if of_labels else rng.normal(size=(count, outputs))
    weight = rng.uniform(0.2, 2.0, count) if seed % 3 else None
    held = numpy.split(rng.permutation(count), folds)
    for rows in held if of_labels else []:
        Y[rows[:outputs]] = range(outputs)
    has_groups = rng.random() < 0.1
    divisions = [
        Fold(
            numpy.setdiff1d(numpy.arange(count), rows) if folds > 1 else numpy.arange(count),
            rows,
            groups=numpy.arange(ROWS) if has_groups else None,
        )
        for rows in held
    ]
    columns = numpy.eye(outputs)[Y] if of_labels else Y
    weights = numpy.ones(count) if weight is None else weight
    constants = [
        (weights[fold.training, None] * columns[fold.training]).sum(axis=0)
        / weights[fold.training].sum()
        for fold in divisions
    ]
    networks = []
    for number in range(int(rng.integers(folds, 5))):
        fold = number % folds
        skill = rng.uniform(-0.35, 0.35)
        predicted = constants[fold] + skill * (columns[held[fold]] - constants[fold])
        predicted = predicted + 0.02 * rng.normal(size=predicted.shape)
        if of_labels:
            predicted = predicted.clip(0.01) / predicted.clip(0.01).sum(axis=1, keepdims=True)
        parts = numpy.random.default_rng([seed, fold]).permutation(ROWS) % 4
        is_known = rng.random() < 0.93
        networks.append(
            ValidatedNetwork(
                fold, predicted if is_known else None, parts if is_known or seed % 5 else None
            )
        )
    divided = TableSplit(FitRows(numpy.zeros((count, 1)), Y, weight), divisions)
    spec = spec_of("softmax_cross_entropy" if of_labels else "squared_error", outputs)
    choice = ConstantChoice(
        Constants(divided, spec),
        networks,
        noise_folds=frozenset(k for k in range(folds) if rng.random() < 0.6),
        may_leave_out=bool(rng.random() < 0.8),
        may_leave_out_all=bool(rng.random() < 0.8),
    )
    losses = loss_of_label if of_labels else loss_of_number
    return Case(choice, constants, [Y[r] for r in held], [weights[r] for r in held], losses)


def has_groups(case: Case) -> bool:
    validation: Any = case.choice.constants.split.validation
    return validation[0].groups is not None


def gains_of(
    case: Case, fold: int, outputs: Any, parts: Any, left_out: Any
) -> list[tuple[float, float]]:
    """Return how much better each row is predicted than by the constant, and its weight."""
    gains = []
    for row in range(ROWS):
        if left_out is not None and left_out == (fold, parts[row]):
            continue
        target = case.targets[fold][row]
        gain = case.losses(case.constants[fold], target) - case.losses(outputs[row], target)
        gains.append((gain, float(case.weights[fold][row])))
    return gains


def errors_above_0(gains: list[tuple[float, float]]) -> float:
    """Return the mean of gains in standard errors."""
    total = sum(weight for _, weight in gains)
    mean = sum(gain * weight for gain, weight in gains) / total
    variance = sum((weight / total) ** 2 * (gain - mean) ** 2 for gain, weight in gains)
    return float(mean / numpy.sqrt(variance))


def is_beaten(case: Case, network: ValidatedNetwork, left_out: Any = None) -> bool:
    if not case.choice.may_leave_out or has_groups(case):
        return False
    if network.outputs is None or network.parts is None:
        return False
    gains = gains_of(case, network.fold, network.outputs, network.parts, left_out)
    return errors_above_0(gains) <= -2.0


def are_better(case: Case, left_out: Any) -> bool:
    """Return whether the means of each fold's networks are better than its constant."""
    gains = []
    for fold in {network.fold for network in case.choice.networks}:
        of_fold = [network for network in case.choice.networks if network.fold == fold]
        if any(network.outputs is None for network in of_fold) or of_fold[0].parts is None:
            return True
        outputs = sum(network.outputs for network in of_fold) / len(of_fold)
        gains += gains_of(case, fold, outputs, of_fold[0].parts, left_out)
    return errors_above_0(gains) >= 1.0


def is_constant(case: Case, left_out: Any = None) -> bool:
    choice = case.choice
    if choice.may_leave_out_all and all(is_beaten(case, one, left_out) for one in choice.networks):
        return True
    folds = {network.fold for network in choice.networks}
    if left_out is not None:
        folds = {left_out[0]}
    noise = [fold for fold in folds if fold in choice.noise_folds]
    return len(noise) > len(folds) / 2 and not has_groups(case) and not are_better(case, left_out)


@pytest.mark.parametrize("seed", range(150))
def test_the_choice_is_that_of_plain_loops_over_the_rows(seed: int) -> None:
    case = random_case(seed)
    choice = case.choice
    assert choice.beaten == [is_beaten(case, network) for network in choice.networks]
    assert choice.is_constant == is_constant(case)
    for network, nested in zip(choice.networks, choice.nested_outputs(), strict=True):
        if network.outputs is None or network.parts is None:
            assert nested is None
            continue
        wanted = [
            case.constants[network.fold]
            if is_constant(case, (network.fold, network.parts[row]))
            else network.outputs[row]
            for row in range(ROWS)
        ]
        numpy.testing.assert_allclose(nested, wanted, rtol=1e-12)


def test_random_cases_choose_both_ways() -> None:
    """Each answer, and answers that differ between the parts of rows, occur in many cases."""
    cases = [random_case(seed) for seed in range(150)]
    assert 20 < sum(is_constant(case) for case in cases) < 130
    beaten = [any(case.choice.beaten) for case in cases]
    assert 20 < sum(beaten) < 130
    mixed = 0
    for case in cases:
        parts = {(one.fold, p) for one in case.choice.networks for p in range(4)}
        mixed += len({is_constant(case, part) for part in parts}) == 2
    assert mixed > 10


def test_predictions_of_the_constant_itself_do_not_lose_to_it() -> None:
    Y = numpy.arange(8.0)[:, None]
    everywhere = numpy.arange(8)
    divided = TableSplit(FitRows(numpy.zeros((8, 1)), Y), [Fold(everywhere, everywhere)])
    network = ValidatedNetwork(0, numpy.full((8, 1), 3.5), everywhere % 2)
    choice = ConstantChoice(Constants(divided, NUMBER), [network], {0}, True, True)
    assert choice.beaten == [False]


def test_the_constant_of_rows_that_are_no_folds() -> None:
    """Validation rows of the user: the constant is that of the training rows."""
    Y = numpy.array([[1.0, 10.0], [3.0, 20.0], [8.0, 30.0]])
    weight = numpy.array([1.0, 1.0, 2.0])
    later = FitRows(numpy.zeros((2, 1)), numpy.array([[5.0, 20.0], [7.0, 22.5]]))
    divided = TableSplit(FitRows(numpy.zeros((3, 1)), Y, weight), later)
    spec = spec_of("squared_error", 2)
    constants = Constants(divided, spec)
    numpy.testing.assert_allclose(constants.of_all_rows, [5.0, 22.5])
    numpy.testing.assert_allclose(constants.of_validation_rows(0), [[5.0, 22.5]] * 2)
    assert not constants.have_groups
    gains, weights = constants.gains(0, numpy.array([[5.0, 20.0], [6.0, 22.5]]))
    numpy.testing.assert_allclose(gains, [2.5**2 / 2, (2**2 - 1) / 2])
    numpy.testing.assert_array_equal(weights, [1.0, 1.0])
    weighted = FitRows(later.X, later.Y, numpy.array([0.5, 3.0]))
    of_weighted = Constants(TableSplit(divided.rows, weighted), spec)
    numpy.testing.assert_array_equal(of_weighted.gains(0, later.Y)[1], [0.5, 3.0])
