"""Rules that labels of classes must hold, besides those of scikit-learn."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf

import numpy

from xpnet.errors import InputError
from xpnet.models.inputs import check_shares, is_sparse


def check_label_types(y: object, name: str = "y") -> None:
    r"""Raise InputError for missing labels, for strings among labels of another type, and for
    strings that end in NUL.

    NumPy cannot sort the former, and drops the NUL from its arrays of text, so that "a" and "a\0"
    become one label.
    """
    check_is_no_name(y, name)
    _check_all_are_labelled(y, name)
    if (
        is_sparse(y)
        or (type(y) is numpy.ndarray and y.dtype.kind != "O")
        or numpy.asarray(y).dtype.kind not in "OU"
    ):
        return
    labels = numpy.asarray(y, dtype=object).ravel()
    kinds = {type(label) for label in labels}
    if len({issubclass(kind, str) for kind in kinds}) > 1:
        received = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(
            f"`{name}` must hold strings alone or numbers alone; got {received}. Convert them, or "
            "drop such rows."
        )
    cut = [label for label in labels if isinstance(label, str) and label.endswith("\0")]
    if cut:
        raise InputError(
            f"`{name}` must hold labels that do not end in a NUL character, which NumPy drops; got "
            f"{cut[0]!r}. Remove the character."
        )


def check_is_no_name(y: object, name: str) -> None:
    """Raise InputError for the name of a column in place of its values."""
    if isinstance(y, str):
        raise InputError(
            f"`{name}` must hold a target for each row; got the text {y!r}. Pass the column, such "
            f"as X[{y!r}], and leave it out of X."
        )


def _check_all_are_labelled(y: object, name: str) -> None:
    """Raise InputError for labels that are None or NaN."""
    if is_sparse(y):
        return
    labels = numpy.asarray(y)
    is_missing: numpy.ndarray
    if labels.dtype.kind == "f":
        is_missing = numpy.isnan(labels)
    elif labels.dtype.kind in "OU" and not (type(y) is numpy.ndarray and labels.dtype.kind == "U"):
        # NumPy makes the text "nan" of a NaN beside text.
        objects = numpy.asarray(y, dtype=object).ravel()
        is_missing = numpy.array([_is_missing(label) for label in objects], bool)
    else:
        return
    if is_missing.any():
        raise missing_targets(is_missing, name, "NaN", "a label")


def _is_missing(label: object) -> bool:
    """Return whether a label is None, NaN, or what pandas has for it."""
    is_nan = isinstance(label, float) and label != label
    return label is None or is_nan or type(label).__name__ in ("NAType", "NaTType")


def missing_targets(is_wrong: numpy.ndarray, name: str, received: str, wanted: str) -> InputError:
    """Return an error that counts the targets that are none.

    is_wrong : (rows,) or (rows, targets) bool; received : the values that they hold; wanted : those
    that they must hold
    """
    by_row = is_wrong.reshape(is_wrong.shape[0] if is_wrong.ndim else 1, -1)
    rows: numpy.ndarray = numpy.logical_or.reduce(by_row, axis=1)
    return InputError(
        f"Input {name} contains {received}: `{name}` must hold {wanted} for each row, and "
        f"{numpy.count_nonzero(rows):,} of {len(rows):,} rows have none, the first of them row "
        f"{int(rows.argmax())}. Leave such rows out."
    )


def check_numbers(y: object, name: str, kind: type) -> None:
    """Raise InputError for targets of a regressor that are text, NaN or infinite.

    kind : the class of the regressor, which the error names
    """
    check_is_no_name(y, name)
    if is_sparse(y):
        return
    values = numpy.asarray(y)
    if values.dtype.kind in "OU":
        texts = (value for value in values.ravel().tolist() if isinstance(value, str))
        text = next(texts, None)
        own = kind.__name__
        if text is not None:
            raise InputError(
                f"`{name}` must hold numbers for {own}; got text such as {text[:60]!r}. Use "
                f"{own.replace('Regressor', 'Classifier')}, which predicts labels."
            )
        return
    if values.dtype.kind in "mM":
        raise InputError(
            f"`{name}` must hold numbers for {kind.__name__}; got {values.dtype}. Convert it, as "
            f"by ({name} - {name}.min()) / numpy.timedelta64(1, 'h')."
        )
    if values.dtype.kind == "f" and not numpy.isfinite(values).all():
        is_nan = numpy.isnan(values)
        if is_nan.any():
            raise missing_targets(is_nan, name, "NaN", "a number")
        infinite = "infinity or a value too large for dtype('float64')"
        raise missing_targets(numpy.isinf(values), name, infinite, "a finite number")


SAVABLE_LABELS = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
)
"""Names of the dtypes of labels that model files hold, besides text."""


def check_savable_labels(y: numpy.ndarray, name: str = "y") -> None:
    """Raise InputError for labels that model files do not hold: labels of another type, such as
    dates, and text that is not valid Unicode.

    y : (rows,)
    """
    dtype = y.dtype.name
    if y.dtype.kind in "OU":
        _check_encodable(y, name)
    if y.dtype.kind == "O":
        kinds = {type(label) for label in y.tolist()}
        others = {kind for kind in kinds if not issubclass(kind, (str, bool, int, float))}
        dtypes = {numpy.dtype(kind).name for kind in others if issubclass(kind, numpy.generic)}
        unknown = {kind for kind in others if not issubclass(kind, numpy.generic)}
        wrong = sorted({*dtypes - set(SAVABLE_LABELS), *(kind.__name__ for kind in unknown)})
        if not wrong:
            return
        dtype = ", ".join(wrong)
    elif y.dtype.kind == "U" or dtype in SAVABLE_LABELS:
        return
    raise InputError(
        f"`{name}` must hold labels of text, bool, int, float32 or float64, which model files "
        f"hold; got {dtype}. Convert it with {name}.astype(str) or to numbers."
    )


@contextmanager
def hint_at_soft_labels(y: object) -> Iterator[None]:
    """Add to a refusal of labels how probabilities are passed, where that is what they look like.

    y : the refused labels
    """
    try:
        yield
    except ValueError as error:
        shares = numpy.asarray(y)
        are_numbers = shares.ndim == 2 and shares.dtype.kind == "f"
        if not are_numbers or not ((shares >= 0) & (shares <= 1)).all():
            raise
        remedy = "If y holds probabilities, pass `classes`, the labels of its columns."
        raise InputError(f"{str(error).rstrip('.')}. {remedy}") from None


def _check_encodable(y: numpy.ndarray, name: str) -> None:
    """Raise InputError for text with a lone surrogate, which is no character. y : (rows,) of text
    or of objects
    """
    for label in numpy.unique(y) if y.dtype.kind == "U" else y.tolist():
        if isinstance(label, str) and any("\ud800" <= letter <= "\udfff" for letter in label):
            raise InputError(
                f"`{name}` must hold labels whose text can be written to a file; got {label!r}, "
                "which has half of a surrogate pair; decode the text again."
            )


def check_not_negative(class_weight: object) -> None:
    """Raise InputError for weights by label that are negative or not finite.

    class_weight : dict of weights by label; others are not looked at
    """
    for label, weight in class_weight.items() if isinstance(class_weight, Mapping) else ():
        if not 0 <= float(weight) < inf:
            raise InputError(
                "`class_weight` must not be negative, infinite or NaN; got "
                f"{weight!r} for the class {label!r}. Correct it."
            )


def check_class_weights(class_weight: object, classes: numpy.ndarray) -> None:
    """Raise InputError for weights by label that are negative or infinite, that leave rows of one
    class alone, or that name a label which no row has while a class has no weight.

    class_weight : dict of weights by label; others are not looked at; classes : (classes,)
    """
    check_not_negative(class_weight)
    if not isinstance(class_weight, Mapping) or len(classes) < 2:
        return
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown and not class_weight.keys() >= {*labels}:
        raise InputError(
            f"`class_weight` must hold labels of y, such as {labels[0]!r}; got {unknown[0]!r}, "
            "which no row has. Correct it."
        )
    remaining = [label for label in labels if class_weight.get(label, 1.0) != 0]
    if len(remaining) == 1:
        raise InputError(
            "`class_weight` must leave two classes or more whose weight is not 0; got "
            f"{remaining[0]!r} alone. Give other classes a weight above 0."
        )


def checked_shares(shares: numpy.ndarray, name: str, classes: int) -> numpy.ndarray:
    """Return soft labels, (rows, classes) floats.

    Raises InputError, which names the first wrong row, unless they are probabilities that sum to 1.
    """
    if shares.ndim != 2 or shares.shape[1] != classes:
        raise InputError(
            f"`{name}` must hold a probability for each of {classes} classes in each row; got "
            f"shape {shares.shape}. Pass one column for each class."
        )
    shares = numpy.asarray(shares, shares.dtype if shares.dtype.kind == "f" else numpy.float64)
    check_shares(shares, name)
    return shares


def hard_labels(Y: numpy.ndarray, classes: int | None = None) -> numpy.ndarray:
    """Return class indices, of soft labels the most probable class: (rows,).

    Y : (rows,) class indices or (rows, classes) shares, which offsets may follow
    classes : number of classes; None where no offsets follow
    """
    return Y if Y.ndim == 1 else Y[:, :classes].argmax(axis=1)


def are_one_hot(shares: numpy.ndarray) -> bool:
    """Return whether soft labels (rows, classes) name one class in each row."""
    return bool(((shares == 0) | (shares == 1)).all() and (shares.sum(axis=1) == 1).all())


def classes_of_columns(classes: object, columns: int) -> numpy.ndarray:
    """Return the labels of the columns of soft labels: (classes,).

    Raises InputError unless there are as many, each once, and two or more.
    """
    check_label_types(classes, "classes")
    labels = numpy.asarray(classes)
    if labels.ndim != 1 or len(labels) < 2 or len(set(labels.tolist())) < len(labels):
        raise InputError(
            f"`classes` must hold two labels or more, each once; got {labels.tolist()!r}. Name "
            "each column of y."
        )
    if len(labels) != columns:
        raise InputError(
            f"`classes` must hold a label for each of {columns} columns of y; got {len(labels)}. "
            "Name each column."
        )
    check_savable_labels(labels, "classes")
    return labels
