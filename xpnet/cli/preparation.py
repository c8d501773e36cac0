"""From the columns of a table to the inputs of a network, by scikit-learn's transformers, kept in the model file."""

from typing import Any

import numpy
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from xpnet.errors import InputError

CATEGORIES = 100
"""Most categories of a column that each get an input; rarer ones share one, and so do unknown ones later."""

_BLOCK = 2**16  # rows that a scaler looks at in one go, so that its float64 copies stay small
MISSING = "missing"
"""The category of an empty cell."""

Steps = list[tuple[str, Any]]


def prepare(X: Any, *, scaled: bool, impute: bool, dtype: str) -> tuple[Steps, numpy.ndarray]:
    """Fit what prepares X, and apply it.

    X : (rows, features), a matrix that may be written to, or a pyarrow.Table with text among its columns
    returns the fitted steps by name, and the network's inputs (rows, in)

    Raises InputError where the values leave the range of ``dtype``.
    """
    if isinstance(X, numpy.ndarray):
        return _prepare_numbers(X, scaled=scaled, impute=impute)
    columns = _columns(X, scaled, impute, dtype)
    with numpy.errstate(over="ignore", invalid="ignore"):  # told below
        inputs = numpy.asarray(columns.fit_transform(X)).astype(dtype, copy=False)
    return [("columns", columns)], check_range(inputs)


def learn(X: Any, *, scaled: bool, impute: bool, dtype: str) -> tuple[Steps, int]:
    """Fit what prepares X, as :func:`prepare` does; returns the steps, and how many inputs the network has.

    There may not be room for the inputs of X: an input for each category makes many of few columns.
    """
    if isinstance(X, numpy.ndarray):
        steps, inputs = _prepare_numbers(X, scaled=scaled, impute=impute)
        return steps, inputs.shape[1]
    columns = _columns(X, scaled, impute, dtype)
    usual = columns.sparse_threshold
    _encode_sparsely(columns, True)
    with numpy.errstate(over="ignore", invalid="ignore"):  # rows tell, when they are prepared
        columns.set_params(sparse_threshold=1.0).fit(X)
    _encode_sparsely(columns, False)
    columns.set_params(sparse_threshold=usual).sparse_output_ = False
    return [("columns", columns)], columns.transform(X.slice(0, 1)).shape[1]


def _encode_sparsely(columns: ColumnTransformer, sparsely: bool) -> None:
    """Whether categories become sparse matrices, before columns are fitted and after."""
    for _, part, _ in getattr(columns, "transformers_", columns.transformers):
        for step in [step for _, step in part.steps] if isinstance(part, Pipeline) else [part]:
            if isinstance(step, OneHotEncoder):
                step.set_params(sparse_output=sparsely)


def _columns(X: Any, scaled: bool, impute: bool, dtype: str) -> ColumnTransformer:
    """What prepares the columns of a table, not fitted yet."""
    import pyarrow.compute

    names = X.schema.names
    text = [name for name in names if str(X.schema.field(name).type) not in ("float", "double")]
    numbers = [name for name in names if name not in text]
    most = max((pyarrow.compute.count_distinct(X.column(name), mode="all").as_py() for name in text), default=0)
    steps = _text_steps(impute, dtype, CATEGORIES if most > CATEGORIES else None)
    entries = [("numbers", _number_steps(scaled, impute), numbers), ("text", steps, text)]
    return ColumnTransformer([entry for entry in entries if entry[2]], verbose_feature_names_out=False)


def _number_steps(scaled: bool, impute: bool) -> Any:
    """What numbers go through."""
    scaler = StandardScaler(with_mean=scaled, with_std=scaled)
    imputer = SimpleImputer(strategy="median", add_indicator=True)
    return Pipeline([("impute", imputer), ("scale", scaler)]) if impute else scaler


def _text_steps(impute: bool, dtype: str, most: int | None) -> Any:
    """What text goes through. A gap is NaN or None, depending on the library that a frame comes from.

    most : categories of a column; None where there are not more, since scikit-learn would count each of them
    """
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        max_categories=most,
        sparse_output=False,
        dtype=numpy.dtype(dtype).type,
    )
    fill: dict[str, Any] = {"strategy": "constant", "fill_value": MISSING}
    if not impute:
        return encoder
    return Pipeline(
        [("nan", SimpleImputer(**fill)), ("none", SimpleImputer(missing_values=None, **fill)), ("encode", encoder)]
    )


def _prepare_numbers(X: numpy.ndarray, *, scaled: bool, impute: bool) -> tuple[Steps, numpy.ndarray]:
    """A table of numbers, which is changed in place: there may not be room for another."""
    steps: Steps = []
    if impute:
        imputer = SimpleImputer(strategy="median", add_indicator=True)
        X = imputer.fit_transform(X).astype(X.dtype, copy=False)
        steps.append(("impute", imputer))
    if scaled:
        scaler = StandardScaler(copy=False)
        with numpy.errstate(over="ignore", invalid="ignore"):  # told below
            for start in range(0, len(X), _BLOCK):
                scaler.partial_fit(X[start : start + _BLOCK])
            X = scaler.transform(X)
        if not numpy.isfinite(scaler.var_).all():
            raise _too_large(X.dtype)
        steps.append(("scale", scaler.set_params(copy=True)))
    return steps, check_range(X)


def apply(steps: Steps, X: Any, dtype: str) -> numpy.ndarray:
    """The network's inputs for other rows; a matrix is changed in place."""
    in_place = isinstance(X, numpy.ndarray)
    with numpy.errstate(over="ignore", invalid="ignore"):
        for _, step in steps:
            X = step.set_params(copy=False).transform(X) if in_place and hasattr(step, "copy") else step.transform(X)
            step.set_params(**({"copy": True} if hasattr(step, "copy") else {}))
    return check_range(numpy.asarray(X).astype(dtype, copy=False))


def check_range(inputs: numpy.ndarray) -> numpy.ndarray:
    """The inputs, if all are finite.

    Raises InputError otherwise.
    """
    if not numpy.isfinite(inputs.sum(dtype=numpy.float64)) and not numpy.isfinite(inputs).all():
        raise _too_large(inputs.dtype)
    return inputs


def _too_large(dtype: numpy.dtype) -> InputError:
    return InputError(f"Every input must fit {dtype}; some are too large. Give the columns a larger unit.")
