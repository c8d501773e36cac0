"""Random histories of estimators and of checkpoints; hypothesis shrinks what fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.checkpoint_machine import CheckpointMachine
from helpers.estimator_machine import EstimatorMachine
from helpers.tabular_machine import TabularMachine
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from xpnet import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor

STEPS = 20


def run(machine: type[RuleBasedStateMachine], histories: int) -> None:
    """Run a state machine for some histories of `STEPS` steps each."""
    chosen = settings(
        max_examples=histories,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_an_estimator_is_what_its_calls_made_it(
    kind: Any,
    backend: str,
    tmp_path: Path,
    times: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    class Machine(EstimatorMachine):
        """An estimator of this kind on this backend."""

    Machine.kind, Machine.backend, Machine.folder = kind, backend, tmp_path
    run(Machine, times(3, 150))
    tally("steps of random histories of an MLP estimator", Machine.steps)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_checkpoints_are_those_of_a_run_that_nothing_disturbs(
    backend: str, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    class Machine(CheckpointMachine):
        """A folder of checkpoints of a network on this backend."""

    Machine.backend = backend
    run(Machine, times(5, 280))
    tally("steps of random histories of a folder of checkpoints", Machine.steps)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_a_tabular_estimator_answers_from_its_last_whole_fit(
    kind: Any,
    backend: str,
    tmp_path: Path,
    times: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    class Machine(TabularMachine):
        """A tabular estimator of this kind on this backend."""

    Machine.kind, Machine.backend, Machine.folder = kind, backend, tmp_path
    run(Machine, times(2, 130))
    tally("steps of random histories of a tabular estimator", Machine.steps)
