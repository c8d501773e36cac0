"""scikit-learn's small data sets, which come with it: nothing is downloaded."""

from typing import Any

from xpnet.data.labels import as_labels
from xpnet.data.table import Table
from xpnet.errors import DataFileError

DATASETS = ("digits", "iris", "wine", "breast_cancer")
TARGETS = ("target", "y")


def read_bundled(name: str, target: str | None) -> Table:
    """One of ``DATASETS``, with its labels as text where scikit-learn names them.

    Raises DataFileError for a target other than its own.
    """
    from sklearn import datasets

    if target is not None and target not in TARGETS:
        raise DataFileError(f"{name}: the labels of this data set are called 'target'; received {target!r}.")
    found: Any = getattr(datasets, f"load_{name}")()
    labels = as_labels(name, "target", found.target_names[found.target])
    return Table(name, found.data, [str(feature) for feature in found.feature_names], labels, "target")
