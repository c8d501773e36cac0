"""Learning rates by epoch, against PyTorch's schedulers."""

import pytest

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


@pytest.mark.parametrize(
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
    ids=["step", "exponential", "cosine", "one cycle"],
)
def test_rates_are_pytorchs(ours, kind, settings):
    assert [ours(epoch, []) for epoch in range(EPOCHS)] == pytest.approx(
        pytorchs_rates(kind, settings), rel=1e-9
    )


@pytest.mark.parametrize("patience", [1, 3])
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


@pytest.mark.parametrize("number", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize(
    "make",
    [Constant, lambda n: StepDecay(n, 1), lambda n: Cosine(1.0, n), lambda n: Plateau(1.0, n)],
)
def test_numbers_that_are_not_positive_and_finite_are_refused(make, number):
    with pytest.raises(xpnet.InputError, match="positive and finite"):
        make(number)
