"""scikit-learn's small data sets, which come with it: nothing is downloaded."""

from typing import Any

from xpnet.data.labels import as_labels
from xpnet.data.table import Request, Table, pick_columns
from xpnet.errors import DataFileError

DATASETS = ("digits", "iris", "wine", "breast_cancer", "diabetes")
TARGETS = ("target", "y")


def read_bundled(name: str, request: Request) -> Table:
    """One of ``DATASETS``, with its labels as text where scikit-learn names them.

    Raises DataFileError for a target other than its own.
    """
    from sklearn import datasets

    if request.target is not None and request.target not in TARGETS:
        raise DataFileError(f"{name}: the labels of this data set are called 'target'; received {request.target!r}.")
    found: Any = getattr(datasets, f"load_{name}")()
    header = [str(feature) for feature in found.feature_names]
    features = pick_columns(
        name, header, Request(labelled=False, features=request.features, drop=request.drop)
    ).features
    X = found.data[:, [header.index(feature) for feature in features]]
    X = X if request.dtype is None else X.astype(request.dtype)
    if not request.labelled:
        return Table(name, X, features)
    named = getattr(found, "target_names", None)
    labels = as_labels(name, "target", found.target if named is None else named[found.target])
    return Table(name, X, features, labels, "target")
