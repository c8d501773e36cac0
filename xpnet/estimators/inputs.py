"""Data as a training step takes it: validated as scikit-learn does, agreed on among ranks, split, and put in orders."""

from collections.abc import Callable, Generator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import Any, Literal

import numpy
from numpy.random import RandomState
from scipy.sparse import csr_matrix, issparse
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import validate_data

from xpnet.backend import Backend, Operations, Step, dtype_name
from xpnet.data.sources import ArraySource, Source, as_source
from xpnet.distributed import ALONE, Ranks, current_ranks
from xpnet.distributed.ranks import Owners
from xpnet.errors import InputError
from xpnet.estimators.parameters import STOCHASTIC, check_together
from xpnet.models import Network
from xpnet.models.inputs import check_in_memory, check_label_types, on_host, to_host
from xpnet.ops import Array, namespace

FLOATING = ("float64", "float32")


@dataclass
class FitInputs:
    """Holds what the user passed to ``fit`` or ``partial_fit``; labels and weights are on the host."""

    X: Any
    y: Any
    sample_weight: Any = None
    X_val: Any = None
    y_val: Any = None
    sample_weight_val: Any = None
    classes: Any = None
    ranks: Ranks = field(default_factory=current_ranks)

    def __post_init__(self) -> None:
        check_in_memory((self.X, self.y))
        self.y, self.y_val = to_host(self.y), to_host(self.y_val)
        self.sample_weight, self.sample_weight_val = (
            to_host(self.sample_weight),
            to_host(self.sample_weight_val),
        )


@dataclass
class Rows:
    """Holds rows that are ready for a step.

    X : (rows, in), dense where the network lives or sparse (CSR); Y : (rows,) class indices or (rows, out)
    weight : (rows,) or None
    """

    X: Any
    Y: Array
    weight: Array | None = None

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return self.X.shape[0]

    def take(self, indices: Any, backend: Backend) -> "Rows":
        """Take some of the rows. indices : (some,) int64, NumPy's"""
        gather, there = Operations(backend).gather, backend.asarray(indices)
        X = self.X[indices] if issparse(self.X) else gather(self.X, there)
        return Rows(
            X, gather(self.Y, there), None if self.weight is None else gather(self.weight, there)
        )

    def parts(self, backend: Backend, dtype: str) -> Generator["Rows", None, None]:
        """Yield the rows on a backend in a dtype, some at a time where they are read block by block."""
        yield self

    def orders(self, random_state: RandomState, rows: int) -> Any:
        """Return what draws the order of each epoch. rows : those of all ranks"""
        return Orders(random_state, rows)

    def epoch(self, step: Step, compute: Callable[..., float]) -> Callable[..., float]:
        """Return what makes an epoch over these rows. compute : makes one with a step, over rows in memory"""
        return partial(compute, step)

    def split(
        self, share: float, random_state: RandomState, network: Network, strata: Any, ranks: Ranks
    ) -> tuple["Rows", "Rows", Owners | None]:
        """Split rows as scikit-learn does, into rows to train on and rows held out, and the owners of the first.

        strata : (rows, ...), NumPy's, of this rank's rows, whose proportions both parts keep; None for none
        """
        counts = ranks.allgather(self.count)
        owners = ranks.owners or in_their_order(numpy.repeat(numpy.arange(len(counts)), counts))
        if strata is not None:
            before = numpy.cumsum([0, *counts])
            strata = numpy.concatenate(ranks.allgather(strata))[before[owners.rank] + owners.index]
        parts = train_test_split(
            numpy.arange(len(owners.rank)),
            random_state=random_state,
            test_size=share,
            stratify=strata,
        )
        if len(parts[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        own = (
            [owners.index[part][owners.rank[part] == ranks.rank] for part in parts]
            if ranks.own_data
            else parts
        )
        trained, held_out = (self.take(part, network.backend) for part in own)
        return trained, held_out, in_their_order(owners.rank[parts[0]]) if ranks.own_data else None


def in_their_order(owner: numpy.ndarray) -> Owners:
    """Return the owners of rows of which each rank has its own, one after the other. owner : (rows,) whose each is"""
    index = numpy.empty(len(owner), numpy.int64)
    for rank in range(int(owner.max(initial=0)) + 1):
        mine = owner == rank
        index[mine] = numpy.arange(numpy.count_nonzero(mine))
    return Owners(owner, index)


class Orders:
    """Draws the orders of the rows, epoch after epoch: each shuffles the one before it, as scikit-learn does.

    A checkpoint holds it as it holds a RandomState.
    """

    def __init__(self, random_state: RandomState, rows: int) -> None:
        self.random_state, self.rows = random_state, rows
        self.last: Any = None

    def permutation(self, rows: int) -> Any:
        """Draw the next order: (rows,) int64."""
        order = numpy.arange(rows) if self.last is None else self.last.copy()
        self.random_state.shuffle(order)
        self.last = order
        return order

    def get_state(self, *, legacy: Literal[False] = False) -> dict[str, Any]:
        """Return the stream's state, with the last order."""
        return {**self.random_state.get_state(legacy=legacy), "last": self.last}

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise InputError for a state with an order of other rows."""
        last = state["last"]
        if last is not None and not numpy.array_equal(numpy.sort(last), numpy.arange(self.rows)):
            raise InputError(
                f"An order holds each of {self.rows} rows once; the one in the checkpoint does not."
            )

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state. Raises ValueError for what is no state."""
        self.random_state.set_state(
            {name: value for name, value in state.items() if name != "last"}
        )
        self.last = state["last"]


def in_memory_or_source(estimator: Any, X: Any, ranks: Ranks) -> Any:
    """Return X as it is, or where its blocks must be read, the source; one that fits a buffer is loaded.

    If one rank with rows of its own has a source, all have one, or all have their rows in memory.
    """
    if type(X) is numpy.ndarray and not ranks.own_data:
        return X
    source = as_source(X, dtype=estimator.dtype, copied=bool(estimator.early_stopping))
    if estimator.solver == "lbfgs":  # takes all rows at once, a memory map as it lies
        return X if source is None or isinstance(X, numpy.ndarray) else source.whole()
    if source is not None:
        count, room = (
            len(source),
            source.buffer_rows(estimator.dtype or numpy.result_type(source.dtype, numpy.float32)),
        )
    elif not ranks.own_data:
        return X
    else:
        count, room = X.shape[0] if hasattr(X, "shape") else len(X), 0
    counts, rooms = zip(*ranks.allgather((count, room)), strict=True)
    if sum(counts) > max(rooms) > 0:
        return ArraySource(numpy.asarray(X)) if source is None else source
    return X if source is None else source.whole()


def check_rows(estimator: Any, given: FitInputs, *, reset: bool) -> tuple[Any, Any]:
    """Check X and y for training as scikit-learn's ``validate_data`` does. X of another library stays there.

    reset : whether the columns of X are those that the estimator knows from now on
    returns X, (rows, in), floating-point, and targets of every kind that some rank has; ``given`` has this rank's then

    Raises ValueError or TypeError, as ``validate_data`` does, InputError for ranks whose rows are not alike.
    """
    ranks, numeric = given.ranks, estimator._numeric_targets
    X = given.X = in_memory_or_source(estimator, given.X, ranks)
    y = given.y
    if y is None or (ranks.own_data and not X.shape[0]):
        validate_data(
            estimator, X, y, skip_check_array=True, reset=reset
        )  # raises where there is no y
        X, y = (
            X if issparse(X) or isinstance(X, Source) else numpy.asarray(X, estimator.dtype),
            numpy.asarray(y),
        )
    else:
        X = check_X(estimator, X, reset=reset)
        y = check_targets(y, numeric=numeric)
        check_consistent_length(X, y)
    y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
    X, given.y, known = _agreed(X, y, ranks, numeric=numeric) if ranks.own_data else (X, y, y)
    return X, known


def check_validation_rows(estimator: Any, given: FitInputs) -> tuple[Any, Any, Any] | None:
    """Check the user's own validation rows; return X, encoded targets and weights, None where there are no rows.

    Raises InputError for rows without targets, targets without rows, and rows that nothing would read.
    """
    X, y, weight = given.X_val, given.y_val, given.sample_weight_val
    if X is None and y is None and weight is None:
        return None
    check_together(X, y, weight)
    if estimator.solver not in STOCHASTIC:
        raise InputError(
            f"Validation rows are measured after each epoch, and solver={estimator.solver!r} makes none. Leave X_val "
            f"and y_val out, or choose a solver of {', '.join(STOCHASTIC)}."
        )
    if given.ranks.own_data and not X.shape[0]:  # other ranks may have some
        none = 0, estimator.n_features_in_
        X, y = csr_matrix(none) if issparse(X) else numpy.zeros(none), given.y[:0]
    else:
        X = check_X(estimator, in_memory_or_source(estimator, X, ALONE))
        y = check_targets(y, numeric=estimator._numeric_targets, name="y_val")
        estimator._check_known(y)
    targets = estimator._encode(y)
    check_consistent_length(X, targets)
    return (
        X,
        targets,
        None if weight is None else check_weights(weight, len(targets), "sample_weight_val"),
    )


def check_X(estimator: Any, X: Any, *, reset: bool | None = None, finite: bool = True) -> Any:
    """Check X, and make it a floating-point matrix for training, or a matrix of numbers for prediction.

    reset : whether the columns of X are those that the estimator knows from now on; None for prediction
    finite : whether to look at the values; on the host only

    Raises ValueError for another number of features, or values that are not finite.
    """
    if _is_plain(estimator, X, reset=reset):
        if reset:
            estimator.n_features_in_ = X.shape[1]
    elif isinstance(X, Source) or not on_host(X):
        X = X if isinstance(X, Source) else _check_matrix(X)
        return validate_data(estimator, X, skip_check_array=True, reset=bool(reset))
    else:
        dtype = "numeric" if reset is None else estimator.dtype or FLOATING
        how = {"accept_sparse": ["csr", "csc"], "dtype": dtype, "ensure_all_finite": False}
        X = validate_data(estimator, X, reset=bool(reset), **how)
    if finite:
        assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
    return X


def _is_plain(estimator: Any, X: Any, *, reset: bool | None) -> bool:
    """Say whether ``validate_data`` would give X back as it is, if its values are finite.

    It takes longer than to predict a few rows.
    """
    if (
        type(X) is not numpy.ndarray
        or X.ndim != 2
        or not X.size
        or "feature_names_in_" in vars(estimator)
    ):
        return False
    right = (
        X.dtype in FLOATING if estimator.dtype is None or not reset else X.dtype == estimator.dtype
    )
    return right and (bool(reset) or X.shape[1] == getattr(estimator, "n_features_in_", None))


def _check_matrix(X: Array) -> Array:
    """Check what ``check_array`` asks of X, for an array that stays where it is."""
    xp = namespace(X)
    if X.ndim != 2 or 0 in X.shape:
        raise InputError(
            f"X is a matrix (rows, features) and not empty; received shape {tuple(X.shape)}. Reshape it."
        )
    if xp.isdtype(X.dtype, "complex floating"):
        raise InputError(
            f"Complex data not supported: X is {X.dtype}. Pass real and imaginary part as features."
        )
    if xp.isdtype(X.dtype, "real floating") and not bool(xp.all(xp.isfinite(X))):
        raise InputError(
            "Every value of X is finite; received NaN or infinity. Impute or drop such rows."
        )
    return X


def check_targets(y: Any, *, numeric: bool, name: str = "y") -> Any:
    """Check numbers or labels, and make them an array on the host, (rows,) or (rows, out), dense or sparse (CSR).

    Raises InputError for labels that NumPy cannot tell apart or put in order, ValueError for what is not finite.
    """
    if type(y) is numpy.ndarray and y.ndim == 1 and y.size and y.dtype.kind in "biu":
        return y  # whole numbers are finite: to ask scikit-learn takes as long as a short epoch
    if not numeric:
        check_label_types(y, name)
    y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name=name)
    return y.astype(numpy.float64) if numeric and y.dtype.kind == "O" else y


def check_weights(weights: Any, rows: int, name: str = "sample_weight") -> Any:
    """Check weights of rows as scikit-learn does, and make them (rows,) float64. Raises ValueError for others."""
    if isinstance(weights, Real) or not rows:
        return numpy.full(rows, float(weights) if rows else 0.0)
    weights = check_array(weights, ensure_2d=False, dtype=numpy.float64, order="C", input_name=name)
    if weights.shape != (rows,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(rows,)}!")
    if not weights.any():
        raise InputError(
            f"Some weight in {name} is positive; all are zero. Leave {name} out, or mend it."
        )
    return weights


def _agreed(X: Any, y: Any, ranks: Ranks, *, numeric: bool) -> tuple[Any, Any, Any]:
    """Return X and y, if all ranks with rows have the same columns, and rows of y with every kind of target they have.

    A rank without rows has none of those columns, and none of those targets.

    Raises InputError for other columns, where no rank has rows, and for targets that one rank's rows do not tell.
    """
    if issparse(y):
        raise InputError(
            "Ranks with rows of their own take dense labels; received a sparse y. Pass y.toarray()."
        )
    if not numeric and y.ndim == 2 and type_of_target(y) == "multiclass-multioutput":
        raise InputError(
            "Ranks with rows of their own take one target of classes; received several. Fit one by one."
        )
    shown = y[:1] if numeric or y.ndim == 2 else numpy.unique(y)
    every = [
        facts
        for facts in ranks.allgather((X.shape[1], dtype_name(X.dtype), shown))
        if len(facts[2])
    ]
    if not every:
        raise InputError("Training needs at least one row; no rank has any.")
    kinds = {(features, dtype) for features, dtype, _ in every}
    if len(kinds) > 1:
        received = " and ".join(
            f"{features} features of {dtype}" for features, dtype in sorted(kinds)
        )
        raise InputError(
            f"All ranks have the same columns, in one dtype; received {received}. See what each reads."
        )
    known = numpy.concatenate([targets for *_, targets in every])
    if X.shape[0]:
        return X, y, known
    ((features, dtype),) = kinds
    none = (
        csr_matrix((0, features), dtype=dtype) if issparse(X) else numpy.zeros((0, features), dtype)
    )
    return ArraySource(none) if isinstance(X, Source) else none, known[:0], known


def fit_scaler(scaler: Any, X: Any) -> Any:
    """Fit a scaler to the rows of all ranks of the group, so that all scale by the same numbers.

    Parameters
    ----------
    scaler : sklearn.preprocessing.StandardScaler, MinMaxScaler or MaxAbsScaler
        The scaler, which is fitted; any other estimator with ``partial_fit`` that needs no targets, too.
    X : array, data frame or sparse matrix, shape (rows, features)
        The rows of this rank, none included. Where all ranks have the same rows, and outside of a group, these are all.

    Returns
    -------
    scaler
        The scaler itself, with the same numbers on every rank.

    Raises
    ------
    InputError
        For a scaler without ``partial_fit``, and where no rank has any rows.
    ValueError
        For rows that the scaler refuses, such as rows with other columns than those of the ranks before.

    Notes
    -----
    One rank after the other calls ``partial_fit`` with its rows, and hands the scaler on.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from sklearn.preprocessing import StandardScaler
    >>> X = numpy.array([[1.0], [3.0]])
    >>> with xpnet.use_group("mpi", data="own"):  # doctest: +SKIP
    ...     scaler = xpnet.fit_scaler(StandardScaler(), X)
    >>> xpnet.fit_scaler(StandardScaler(), X).mean_
    array([2.])
    """
    ranks = current_ranks()
    if ranks.group is None or not ranks.own_data:
        return scaler.fit(X)
    if not hasattr(scaler, "partial_fit"):
        raise InputError(
            "Over ranks with rows of their own a scaler with partial_fit can be fitted, such as StandardScaler, "
            f"MinMaxScaler and MaxAbsScaler; received {type(scaler).__name__}. Fit it before, to rows that all have."
        )
    fitted = clone(scaler)
    for rank in range(ranks.group.size):
        if rank == ranks.rank and X.shape[0]:
            fitted = deepcopy(fitted).partial_fit(
                X
            )  # a copy: ranks that are threads have been handed the same one
        fitted = ranks.group.broadcast(fitted, rank=rank)
    if not hasattr(fitted, "n_features_in_"):
        raise InputError("A scaler needs rows on some rank; none has any.")
    vars(scaler).update(vars(fitted))
    return scaler
