"""Arrays that come into a network: where they live, how they get to its backend, and each rule that
must hold, once.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from numbers import Real
from typing import Any, TypeGuard

import numpy

from xpnet.backend import Backend, NetworkSpec, on_device
from xpnet.backend.spec import CLASS_LOSSES, LOSS_NUMBERS, NUMERIC_LOSSES, Loss
from xpnet.dispatch.choose import by_arrays, library_of, library_of_backend
from xpnet.errors import InputError, did_you_mean
from xpnet.layers.losses import check_index_labels
from xpnet.ops import ACTIVATIONS, Array, Labels
from xpnet.ops.namespace import namespace
from xpnet.training.batches import is_finite
from xpnet.typing import SparseMatrix


def check_spec(spec: NetworkSpec) -> NetworkSpec:
    """Return the spec, if its sizes, names and numbers make a network.

    Raises InputError otherwise.
    """
    require(
        all(_is_count(width) for width in spec.widths),
        "Layer sizes must be positive integers",
        spec.widths,
    )
    for activation in spec.activations:
        check_activation(activation)
    require(
        spec.dtype in ("float32", "float64"), "`dtype` must be 'float32' or 'float64'", spec.dtype
    )
    require(
        all(0 <= rate < 1 for rate in spec.dropout),
        "`dropout` must hold rates in [0, 1)",
        spec.dropout,
    )
    members = spec.members
    require(
        _is_whole_count(members),
        "`members` must be a whole number of at least 1",
        members,
    )
    require(
        spec.member_scales in ("all", "first"),
        "`member_scales` must be 'all' or 'first'",
        spec.member_scales,
    )
    require(0 <= spec.l2 < float("inf"), "`l2` must be finite and not negative", spec.l2)
    require(
        spec.loss != "ordered_cross_entropy" or spec.widths[-1] > 1,
        "Ordered classes must have an output for each of two classes or more",
        spec.widths[-1],
    )
    _check_loss_numbers(spec)
    _check_monotonic(spec)
    return spec


def check_activation(activation: object) -> None:
    """Raise InputError for anything but the name of an activation."""
    if not isinstance(activation, str):
        raise InputError(
            f"`activation` must be a name, one of {', '.join(ACTIVATIONS)}; got {activation!r}; "
            "pass a name, since an activation is compiled together with its gradient, which a "
            "function does not have."
        )
    if activation not in ACTIVATIONS:
        raise InputError(
            f"An activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}. "
            f"{did_you_mean(activation, ACTIVATIONS)}".rstrip()
        )


def preset_loss(loss: str) -> Loss:
    """Return the loss of a network that users make by name. Raises InputError for other names."""
    names = ("softmax_cross_entropy", *sorted(NUMERIC_LOSSES))
    if loss not in names:
        raise InputError(
            f"`loss` must be one of {', '.join(names)}; got {loss!r}. "
            f"{did_you_mean(loss, names)}".rstrip()
        )
    return loss


def require(holds: bool, rule: str, received: object) -> None:
    """Raise InputError, which says the rule and what was received, unless the rule holds."""
    if not holds:
        raise InputError(f"{rule}; got {received!r}.")


def _is_count(number: object) -> bool:
    """Return whether an object is an integer, not a bool, and at least 1."""
    return hasattr(number, "__index__") and not isinstance(number, bool) and int(number) >= 1


def _is_whole_count(number: object) -> bool:
    """Return whether an object is Python's own integer, and at least 1."""
    return isinstance(number, int) and _is_count(number)


def _check_loss_numbers(spec: NetworkSpec) -> None:
    """Raise InputError unless these are numbers that the loss takes."""
    numbers = spec.loss_numbers
    outputs = spec.widths[-1]
    takes_numbers = spec.loss in LOSS_NUMBERS
    rule = f"`loss_numbers` of {spec.loss!r} must be empty"
    if takes_numbers:
        rule += f", or one number for all of {outputs} outputs, or one for each"
    require(len(numbers) in ((0, 1, outputs) if takes_numbers else (0,)), rule, numbers)
    if takes_numbers:
        name, _, (low, high) = LOSS_NUMBERS[spec.loss]
        are_in_range = all(low < number < high for number in numbers)
        require(
            are_in_range,
            f"The {name} of loss={spec.loss!r} must lie between {low:g} and {high:g}",
            numbers,
        )
    if spec.loss == "multi_softmax_cross_entropy":
        require(
            list(numbers) == sorted(numbers),
            "`loss_numbers` must rise, since the outputs of one target stand side by side",
            numbers,
        )


def _check_monotonic(spec: NetworkSpec) -> None:
    """Raise InputError unless the constraints are those of a network that can hold them."""
    signs = spec.monotonic
    inputs = spec.widths[0]
    require(
        len(signs) in (0, inputs) and set(signs) <= {-1, 0, 1},
        f"`monotonic` must be empty, or -1, 0 or 1 for each of {inputs} inputs",
        signs,
    )
    if not any(signs):
        return
    others = sorted(set(spec.activations) - RISING_ACTIVATIONS)
    require(
        not others,
        f"Activations of monotonic inputs must be among {', '.join(sorted(RISING_ACTIVATIONS))}, "
        "which never fall",
        ", ".join(others),
    )
    several = spec.loss == "multi_softmax_cross_entropy" or (
        spec.loss == "softmax_cross_entropy" and spec.widths[-1] > 2
    )
    require(
        not several,
        "Monotonic inputs must go with numbers, two classes or ordered classes",
        f"{spec.widths[-1]} classes",
    )


RISING_ACTIVATIONS = frozenset(
    ("identity", "relu", "tanh", "logistic", "softplus", "leaky_relu", "elu")
)
"""Activations that never fall, without which no input can be monotonic."""


def one_each(name: str, value: Any, layers: int) -> tuple[Any, ...]:
    """Return one value for each hidden layer, from one value for all or a sequence.

    Raises InputError for another number of them.
    """
    is_one = isinstance(value, str | Real) or not isinstance(value, Iterable)
    values = (value,) * layers if is_one else tuple(value)
    require(
        len(values) == layers,
        f"`{name}` must be one value or one for each of {layers} hidden layers",
        values,
    )
    return values


def check_inputs(X: Array, columns: int) -> Array:
    """Return X, if it is a matrix with that many columns.

    X : (rows, columns). Raises InputError otherwise.
    """
    if X.ndim != 2 or X.shape[1] != columns:
        raise InputError(
            f"`X` must be a matrix (rows, {columns}), the width this network was made with; got "
            f"shape {tuple(X.shape)}. Give every row the same features as in training."
        )
    return X


def check_some_rows(rows: int) -> None:
    """Raise InputError unless there are rows to train on."""
    if not rows:
        raise InputError(
            "`X` must have at least one row to train on; got none. Look at how the rows were "
            "selected."
        )


def check_finite(**arrays: Array | None) -> None:
    """Raise InputError for an array with NaN or infinity; each is given by the name the user knows
    it by.
    """
    for name, array in arrays.items():
        if array is not None and not is_finite(array):
            raise InputError(
                f"`{name}` must hold finite numbers to train on; got NaN or infinity. Impute or "
                "drop such rows."
            )


def check_rows(X: Array, Y: Labels, spec: NetworkSpec, sample_weight: Array | None) -> None:
    """Raise InputError unless every row of X (rows, in) has its label or its numbers, and its
    weight where there are weights.
    """
    outputs = spec.widths[-1]
    rows = X.shape[0]
    for what, array in (("Y", Y), ("sample_weight", sample_weight)):
        if array is not None and (array.ndim == 0 or array.shape[0] != rows):
            raise InputError(
                f"`{what}` must have one entry for each of {rows} rows of X; got shape "
                f"{tuple(array.shape)}."
            )
    are_numbers = spec.loss in NUMERIC_LOSSES
    if Y.ndim == 1 and not are_numbers:
        check_index_labels(Y, (rows, outputs))
        return
    rule = f"`Y` must hold class indices (rows,) or one column for each of {outputs} classes"
    if are_numbers:
        rule = f"`Y` must hold numbers, one column for each of {outputs} outputs"
    require(Y.ndim == 2 and Y.shape[1] == outputs, rule, tuple(Y.shape))
    if spec.loss in CLASS_LOSSES:
        check_finite(Y=Y)
        check_shares(Y, "Y")


MAX_SUM_ERROR = 1e-4
"""Largest distance of the sum of a row's probabilities from 1: that of float32 or of 4 digits."""


def check_shares(shares: Array, name: str) -> None:
    """Raise InputError, which names the first wrong row, unless rows hold probabilities that sum to
    1.

    shares : (rows, classes); name : that the user knows them by
    """
    if not shares.shape[0]:
        return
    xp = namespace(shares)
    sums, lowest = xp.sum(shares, axis=1), xp.min(shares, axis=1)
    are_right = (xp.abs(sums - 1) <= MAX_SUM_ERROR) & (lowest >= 0)
    if bool(xp.all(are_right)):
        return
    row = int(to_host(are_right).argmin())
    received = f"{float(lowest[row]):g}" if lowest[row] < 0 else f"a sum of {float(sums[row]):g}"
    raise InputError(
        f"`{name}` must hold probabilities from 0 that sum to 1 in each row; got {received} in row "
        f"{row}. Divide each row by its sum, or leave such rows out."
    )


def bring(array: Any, backend: Backend, dtype: str | None = None) -> Any:
    """Return an array of any library, lists, or a sparse matrix as CSR, on a backend; no copy where
    none is needed.
    """
    if type(array) is numpy.ndarray and is_host(backend):
        return numpy.asarray(array, dtype=dtype)
    if is_sparse(array):
        return array.tocsr().astype(dtype, copy=False)
    if not is_on_host(array) and by_arrays(array).backend.xp is not backend.xp:
        array = to_host(array)
    return backend.asarray(array, dtype=dtype)


def own(array: Array, backend: Backend) -> Array:
    """Copy an array of a backend, so that no callback can write into it; integers become the
    backend's indices.
    """
    xp = backend.xp
    with on_device(backend):
        if xp.isdtype(array.dtype, "integral"):
            return xp.astype(array, xp.__array_namespace_info__().default_dtypes()["indexing"])
        return xp.asarray(array, copy=True)


def check_in_memory(arrays: Sequence[object]) -> None:
    """Raise InputError for what does not lie in memory as plain values.

    Arrays and frames of Dask are computed piece by piece on the workers of a cluster; structured
    arrays have fields; masked arrays have gaps; the structure of a sparse matrix may be broken.
    """
    for array in arrays:
        _check_no_mask(array)
        _check_structure(array)
        check_holds_rows(array)
        if type(array).__module__.startswith("dask"):
            raise InputError(
                f"Rows must lie in this process's memory; got a Dask {type(array).__name__}. Train "
                "with xpnet.dask.MLPClassifier or MLPRegressor on its cluster, or pass .compute() "
                "of what fits into memory."
            )
        if fields := getattr(getattr(array, "dtype", None), "names", None):
            raise InputError(
                "An array must hold plain values; got a structured array with the fields "
                f"{', '.join(fields)}. Convert it with "
                "numpy.lib.recfunctions.structured_to_unstructured."
            )


def _check_no_mask(array: object) -> None:
    """Raise InputError for an array of NumPy that masks values, which would count as numbers."""
    if not isinstance(array, numpy.ndarray) or type(array) is numpy.ndarray:
        return
    if numpy.ma.is_masked(array):
        raise InputError(
            "Arrays must have a value in each place; got a masked array with "
            f"{int(numpy.ma.getmaskarray(array).sum())} masked values. Fill them with "
            "array.filled(value), or train a TabularClassifier or TabularRegressor, which takes "
            "gaps."
        )


def check_holds_rows(array: object) -> None:
    """Raise InputError for what gives its rows later: a DataLoader or a Dataset of PyTorch, and a
    frame of polars that has not been computed.
    """
    if any(base.__module__.startswith("torch.utils.data") for base in type(array).__mro__):
        raise InputError(
            f"Rows must be arrays; got a {type(array).__name__} of PyTorch. Pass its tensors, as "
            "X, y = dataset.tensors of a TensorDataset or "
            "X, y = map(torch.cat, zip(*loader)); batch_size and shuffle are arguments of xpnet."
        )
    if hasattr(array, "collect_schema") and hasattr(array, "collect"):
        raise InputError(
            f"Rows must be in memory; got a {type(array).__name__}, which is computed later. Pass "
            "what its collect() returns."
        )


def _check_structure(array: object) -> None:
    """Raise InputError for a matrix of compressed rows or columns that points outside of its
    arrays: compiled code would read there.
    """
    if not is_sparse(array) or array.format not in ("csr", "csc"):
        return
    if not _has_valid_structure(array):
        raise InputError(
            f"A sparse matrix must have a valid structure; got a {array.format} matrix of shape "
            f"{array.shape} whose indptr or indices point outside of it. Find the fault with "
            "X.check_format(full_check=True)."
        )


def _has_valid_structure(array: SparseMatrix) -> bool:
    """Return whether a matrix of compressed rows or columns points into its own arrays alone.

    The indices are read once, which takes far less time than to compute with them.
    """
    lines, width = array.shape if array.format == "csr" else array.shape[::-1]
    starts = array.indptr
    if len(starts) != lines + 1 or starts[0] != 0:
        return False
    if starts[-1] > min(len(array.indices), len(array.data)):
        return False
    if (starts[1:] < starts[:-1]).any():
        return False
    indices = array.indices[: starts[-1]]
    return len(indices) == 0 or bool(indices.min() >= 0 and indices.max() < width)


def is_on_host(array: object) -> bool:
    """Return whether this is NumPy's, or no array of any library (a list, a frame, a sparse
    matrix).
    """
    return library_of(array) in ("", "numpy")


def to_host(array: Any) -> Any:
    """Return the array as NumPy's; what is on the host already is returned as it is."""
    return array if is_on_host(array) else by_arrays(array).backend.to_numpy(array)


def like_rows(numbers: numpy.ndarray, X: object) -> numpy.ndarray:
    """Return results for rows as an array of the rows' library, on their device.

    They stay NumPy's for rows on the host, and where they are text. A type checker sees NumPy's.
    """
    if is_on_host(X) or numbers.dtype.kind not in "biuf":
        return numbers
    result: numpy.ndarray = by_arrays(X).backend.asarray(numbers)  # type: ignore[assignment]
    return result


def on_device_of(array: Array) -> AbstractContextManager[None]:
    """Make the device of an array the current one, where its library has a current device."""
    return nullcontext() if is_on_host(array) else on_device(by_arrays(array).backend)


def is_sparse(array: object) -> TypeGuard[SparseMatrix]:
    """Return whether this is a SciPy sparse matrix, without importing SciPy."""
    return hasattr(array, "tocsr")


is_host: Callable[[Any], bool] = cache(lambda backend: library_of_backend(backend) == "numpy")
"""Return whether a backend computes NumPy arrays."""
