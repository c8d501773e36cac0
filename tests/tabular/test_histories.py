"""Each answer of a tabular estimator belongs to one whole fit, whatever has happened to it."""

from pathlib import Path
from typing import Any

import pytest
from helpers.histories import run_histories

from xpnet import TabularClassifier, TabularRegressor


# Python drops an error that is raised while a generator is closed, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_each_answer_belongs_to_one_whole_fit(kind: Any, tmp_path: Path) -> None:
    """The attack of the same name runs 10,000 histories."""
    assert run_histories(kind, 15, tmp_path / "model") == 75
