"""Learning rates by epoch, against PyTorch's schedulers."""

import math

import pytest
from helpers.cases import each_case

import xpnet
from xpnet.optimizers import Constant, Cosine, Exponential, OneCycle, Plateau, StepDecay

EPOCHS = 30


def pytorchs_rates(kind, settings, losses=None):
    """The learning rate of each epoch, from 0.5."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule, rates = getattr(torch.optim.lr_scheduler, kind)(optimizer, **settings), []
    for epoch in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(*([losses[epoch]] if losses else []))
    return rates


@each_case(
    ("ours", "kind", "settings"),
    [
        (StepDecay(0.5, every=4, factor=0.3), "StepLR", {"step_size": 4, "gamma": 0.3}),
        (Exponential(0.5, factor=0.9), "ExponentialLR", {"gamma": 0.9}),
        (
            Cosine(0.5, epochs=EPOCHS, end=0.1),
            "CosineAnnealingLR",
            {"T_max": EPOCHS, "eta_min": 0.1},
        ),
        (
            OneCycle(0.5, epochs=EPOCHS + 1),
            "OneCycleLR",
            # PyTorch reaches the top one epoch before its share of the epochs is over.
            {
                "max_lr": 0.5,
                "total_steps": EPOCHS + 1,
                "pct_start": (0.3 * EPOCHS + 1) / (EPOCHS + 1),
                "cycle_momentum": False,
            },
        ),
    ],
)
def test_rates_are_pytorchs(ours, kind, settings):
    assert [ours(epoch, []) for epoch in range(EPOCHS)] == pytest.approx(
        pytorchs_rates(kind, settings), rel=1e-9
    )


@each_case("patience", [1, 3])
def test_plateau_is_pytorchs(patience, rng):
    losses = list(1 / (1 + rng.permutation(EPOCHS) % 7))
    ours = Plateau(0.5, patience=patience, factor=0.5, tol=0.01)
    # PyTorch waits for one epoch more than its patience.
    settings = {
        "patience": patience - 1,
        "factor": 0.5,
        "threshold": 0.01,
        "threshold_mode": "abs",
        "eps": 0.0,
    }
    expected = pytorchs_rates("ReduceLROnPlateau", settings, losses)
    assert [ours(epoch, losses[:epoch]) for epoch in range(EPOCHS)] == pytest.approx(expected)
    assert expected[-1] < 0.5


def test_the_cosine_stays_at_its_end():
    schedule = Cosine(1.0, epochs=10, end=0.25)
    assert [schedule(epoch, []) for epoch in (10, 11, 100)] == [0.25] * 3


def test_a_number_is_a_constant_and_a_function_is_itself():
    assert xpnet.LogisticRegression(2, 2, 0.1).next_learning_rate == 0.1
    assert xpnet.LogisticRegression(2, 2, StepDecay(0.5, every=2)).next_learning_rate == 0.5


@each_case("number", [0.0, -1.0, float("inf"), float("nan")])
@each_case(
    "make",
    [Constant, lambda n: StepDecay(n, 1), lambda n: Cosine(1.0, n), lambda n: Plateau(1.0, n)],
)
def test_numbers_that_are_not_positive_and_finite_are_refused(make, number):
    with pytest.raises(xpnet.InputError, match="positive and finite"):
        make(number)


def test_the_defaults_are_those_of_the_documentation():
    assert StepDecay(1.0, every=2).factor == 0.1
    assert Exponential(1.0).factor == 0.95
    assert Cosine(1.0, epochs=2).end == 0.0
    plateau = Plateau(1.0)
    assert (plateau.patience, plateau.factor, plateau.tol) == (10, 0.1, 1e-4)
    kinds = (Constant, StepDecay, Exponential, Cosine, OneCycle, Plateau)
    assert [kind.sees_losses for kind in kinds] == [False] * 5 + [True]


def test_one_cycle_rises_to_its_maximum_and_falls():
    schedule = OneCycle(2.0, epochs=11)
    rates = [schedule(epoch, []) for epoch in range(13)]
    assert rates[0] == pytest.approx(2.0 / 25, rel=1e-12)
    # A third of the rise, along half a period of a cosine.
    assert rates[1] == pytest.approx(0.08 + (2 - 0.08) * (1 - math.cos(math.pi / 3)) / 2, rel=1e-12)
    assert rates[3] == pytest.approx(2.0, rel=1e-12)
    end = 2.0 / 250_000
    assert rates[4] == pytest.approx(end + (2 - end) * (1 + math.cos(math.pi / 7)) / 2, rel=1e-12)
    assert rates[10:] == pytest.approx([end] * 3, rel=1e-9)


@each_case("epochs", [1, 2])
def test_a_cycle_of_few_epochs(epochs):
    schedule = OneCycle(2.0, epochs=epochs)
    assert [schedule(0, []), schedule(1, [])] == pytest.approx([0.08, 8e-6], rel=1e-9)


def test_a_loss_falls_by_more_than_the_tolerance():
    schedule = Plateau(1.0, patience=2, factor=0.5, tol=0.25)
    assert schedule(0, []) == 1.0
    assert schedule(3, [4.0, 3.75, 3.5]) == 1.0  # 3.5 is a fall since 4.0
    assert schedule(3, [4.0, 3.75, 3.75]) == 0.5
    assert schedule(5, [4.0, 4.0, 4.0, 4.0, 4.0]) == 0.25
    assert schedule(4, [4.0, 4.0, 3.0, 3.0]) == 1.0
    assert schedule(1, [math.nan]) == 1.0
    assert schedule(2, [math.nan, math.nan]) == 0.5


@pytest.mark.parametrize("end", [0.0, -1.0])
def test_the_end_may_be_zero_or_negative(end):
    schedule = Cosine(1.0, 4, end=end)
    assert schedule(4, []) == pytest.approx(end, abs=1e-15)
    assert schedule(2, []) == pytest.approx((1 + end) / 2, abs=1e-15)


def test_the_tolerance_may_be_zero_or_negative():
    """With -1, a loss that rises by less than 1 counts as one that falls."""
    losses = [4.0, 4.0, 4.0]
    assert Plateau(1.0, patience=2, factor=0.5, tol=0.0)(3, losses) == 0.5
    assert Plateau(1.0, patience=2, factor=0.5, tol=-1.0)(3, losses) == 1.0
    assert Plateau(1.0, patience=2, factor=0.5, tol=-1.0)(3, [4.0, 5.5, 5.5]) == 0.5
