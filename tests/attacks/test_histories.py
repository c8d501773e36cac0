"""Ten thousand histories of tabular estimators: fits that are whole, refused or interrupted, and
files.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from helpers.histories import SETTINGS, count_calls, run_histories

from xpnet import TabularClassifier, TabularRegressor


# Python drops an error that is raised while a generator is closed, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_each_answer_belongs_to_one_whole_fit(
    kind: Any, tmp_path: Path, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    count = times(20, 5000)
    run_histories(kind, count, tmp_path / "model", seed=1)
    tally("histories of a tabular estimator, each answer belongs to one whole fit", count)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("exposed", [False, True], ids=["plain", "with exposures"])
def test_a_fit_that_raises_at_one_of_its_last_calls_is_no_fit(exposed: bool) -> None:
    rng = numpy.random.default_rng(0)
    X, counts = rng.normal(size=(60, 2)), rng.poisson(3.0, size=60)
    exposure = rng.uniform(1, 2, size=60) if exposed else None
    settings = {**SETTINGS, "loss": "poisson"}

    def again(model: TabularRegressor) -> TabularRegressor:
        return model.fit(X, counts, exposure=exposure)

    model = again(TabularRegressor(**settings))
    again(model)  # the first fits call what later ones have computed
    calls = count_calls(lambda: again(model))
    raised = 0
    for at in range(calls - 40, calls):
        before = model.get_fitted_state()
        try:
            count_calls(lambda: again(model), at)
        except KeyboardInterrupt:
            raised += 1
            assert model.get_fitted_state() is before, f"call {at} of {calls}"
    assert raised > 10  # Python drops what is raised in a destructor
    assert before.predicts_rates is exposed
