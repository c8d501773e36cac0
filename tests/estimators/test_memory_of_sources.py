"""A memory map that is larger as numbers than the memory it may take."""

from pathlib import Path

import pytest
from helpers.anonymous_memory import linux, peak_of

pytestmark = pytest.mark.slow

FIT = """
import warnings
import numpy, xpnet
warnings.simplefilter("ignore")
X = numpy.memmap(sys.argv[1], "uint8", "r", shape=(300_000, 1000))
settings = {"max_iter": 1, "batch_size": 8192, "dtype": "float32", "early_stopping": True}
xpnet.MLPClassifier((2,), **settings).fit(X, numpy.arange(len(X)) % 2)
"""


@linux
def test_uint8_with_early_stopping_takes_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "X"
    with path.open("wb") as file:
        file.truncate(300_000 * 1000)  # holes, which take no room on the disk
    assert 0 < peak_of(FIT, path, folder=tmp_path) < 8 * 10**8 < 300_000 * 1000 * 4
