"""Ten thousand histories of tabular estimators: fits that are whole, refused or interrupted, and
files.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.histories import run_histories

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
