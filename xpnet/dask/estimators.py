"""scikit-learn's contract over Dask collections: ``fit`` on the cluster's workers, predictions
block by block.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy
from dask import compute, is_dask_collection
from distributed import Client, get_client
from sklearn.base import clone, is_classifier
from sklearn.metrics import accuracy_score

import xpnet
from xpnet.dask.placement import BlocksByName, partitions
from xpnet.dask.prediction import predict_blocks
from xpnet.dask.training import train
from xpnet.distributed.group import TIMEOUT
from xpnet.errors import InputError
from xpnet.estimators.mlp import MLP
from xpnet.learning.losses import NumericLoss
from xpnet.learning.parameters import documented_as, with_documentation_of
from xpnet.training import Training
from xpnet.typing import ArrayLike

if TYPE_CHECKING:
    from xpnet.dask.placement import Collection
    from xpnet.data.sources import RowsLike

OWN = ("client", "timeout")
"""Parameters that the estimators without Dask do not have."""

VALIDATION = ("X_val", "y_val", "sample_weight_val")
"""Arguments of ``fit`` that hold rows to validate on."""


def _fit(
    estimator: MLP,
    method: str,
    in_memory: dict[str, Any],
    rank: int,
    parts: BlocksByName,
    watch: Callable[[Training], None],
) -> MLP:
    """Fit a worker's estimator to its rows.

    in_memory : the client's arguments; rank 0 alone keeps validation rows among them
    watch : called after each epoch
    """
    # Workers may be threads of one process, which get the same estimator.
    estimator = deepcopy(estimator)
    if rank:
        in_memory = in_memory | {
            name: in_memory[name][:0] for name in VALIDATION if in_memory.get(name) is not None
        }
    return getattr(estimator, method)(**in_memory, **parts, callbacks=[watch])


def _check_no_exposures(arguments: dict[str, object]) -> None:
    """Raise InputError for exposures and offsets, whose rows would not be cut into blocks."""
    passed = [
        name
        for name, value in arguments.items()
        if name.partition("_")[0] in ("exposure", "offset") and value is not None
    ]
    if passed:
        raise InputError(
            f"`{passed[0]}` must be left out for rows on a cluster; got one. Fit y / exposure of "
            "numbers, with weights of exposure ** (2 - power), and multiply the predictions by the "
            "exposures; or fit rows in memory."
        )


@dataclass(eq=False, repr=False, kw_only=True)
class OnCluster:
    """Adds training and prediction on a cluster to the estimators of ``xpnet``."""

    client: Client | None = None
    timeout: float = TIMEOUT

    _plain: ClassVar[type[Any]]

    if TYPE_CHECKING:  # The regressor has it.

        def _numeric_loss(self) -> NumericLoss:
            """Return the loss of numbers."""

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        **validation: object,
    ) -> Self:
        """Train on the workers of the cluster.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame, shape (rows, features)
            The rows, in blocks: arrays, SciPy's sparse matrices or data frames. A worker that holds
            a block trains on it, unless it has its share of the rows without this one.
        y : dask.array.Array, Series or DataFrame, shape (rows,) or (rows, outputs)
            The targets, in blocks like those of ``X``.
        sample_weight : dask.array.Array or Series, shape (rows,), optional
            Weights of the rows.
        **validation : array or Dask collection
            ``X_val``, ``y_val`` and ``sample_weight_val``: all of them collections like ``X``, or
            all rows in memory.

        Returns
        -------
        object
            The estimator itself, with what the estimator without Dask would find on all rows.

        Raises
        ------
        ValueError
            When there is no cluster.
        BackendError
            When a worker is lost.
        InputError
            For an argument that is not a Dask collection, or is cut into other blocks than
            ``X``.
        """
        return self._train_on_cluster("fit", X, y, sample_weight, validation)

    def _train_on_cluster(
        self,
        method: str,
        X: "Collection",
        y: "Collection",
        sample_weight: ArrayLike | None,
        in_memory: dict[str, Any],
    ) -> Self:
        """Run ``fit`` or ``partial_fit`` of the plain estimator on the workers; adopt its result.

        method : the name of the estimator's method
        in_memory : validation rows by the name of their argument; Dask collections are taken out
        """
        _check_no_exposures(in_memory)
        params = self._parameters()
        validation = {}
        if any(map(is_dask_collection, in_memory.values())):
            validation = partitions({name: in_memory.pop(name, None) for name in VALIDATION})
        # Unfitted where nothing is to go on: what was fitted would be sent to every worker.
        goes_on = method == "partial_fit" or params["warm_start"]
        local = self.to_local() if goes_on else self._plain(**params)
        rows = partitions({"X": X, "y": y, "sample_weight": sample_weight})
        client = get_client() if self.client is None else self.client
        fitted = train(
            client, rows, validation, partial(_fit, local, method, in_memory), timeout=self.timeout
        )
        self._fitted = fitted._fitted
        return self

    def to_local(self) -> MLP:
        """Make the estimator without Dask.

        Returns
        -------
        xpnet.MLPClassifier or xpnet.MLPRegressor
            An estimator with the same parameters and, once this one is fitted, with what it has
            found. Files hold it.
        """
        local = self._plain(**self._parameters())
        local.__setstate__(
            {name: value for name, value in self.__getstate__().items() if name not in OWN}
        )
        return local

    def predict(self, X: "RowsLike | Collection", **exposures: object) -> Any:
        """Labels, or numbers, for rows: see the estimator without Dask.

        Parameters
        ----------
        X : array, shape (rows, features)
            Dask's, or any that the estimator without Dask takes.
        **exposures : array, shape (rows,)
            ``exposure`` and ``offset`` of rows in memory, as `xpnet.MLPRegressor.predict` takes
            them.

        Returns
        -------
        array, shape (rows,) or (rows, outputs)
            A Dask array for a Dask array, a Dask series or frame for a Dask frame.
        """
        return self._each_block("predict", X, **exposures)

    def score(
        self,
        X: "RowsLike | Collection",
        y: "RowsLike | Collection",
        sample_weight: "RowsLike | Collection | None" = None,
        *,
        scoring: str | None = None,
        **exposures: object,
    ) -> float:
        """Measure the predictions as the estimator without Dask does.

        Parameters
        ----------
        X : array, shape (rows, features)
            Dask's, or any that the estimator without Dask takes.
        y, sample_weight : array, shape (rows,)
            Labels or numbers, and weights. They come to the client's memory, as the predictions do.
        scoring : {"r2", "d2"} or None, default None
            What is measured of numbers, as `xpnet.MLPRegressor` describes it.
        **exposures : array, shape (rows,)
            See ``predict``.

        Returns
        -------
        float
            The accuracy of labels; of numbers R^2 or D^2, the mean over outputs.
        """
        y, predicted, weight = compute(y, self.predict(X, **exposures), sample_weight)
        if is_classifier(self):
            return float(accuracy_score(y, predicted, sample_weight=weight))
        rows = len(predicted)
        y, outputs = (numpy.asarray(numbers).reshape(rows, -1) for numbers in (y, predicted))
        return self._numeric_loss().score(y, outputs, weight, scoring)

    def _each_block(self, method: str, X: "RowsLike | Collection", **exposures: object) -> Any:
        """Apply a method to each block of rows. exposures : exposures and offsets"""
        if not is_dask_collection(X):
            return getattr(self._plain, method)(self, X, **exposures)
        _check_no_exposures(exposures)
        return predict_blocks(self.to_local(), method, X)

    def _parameters(self) -> dict[str, object]:
        """Return the parameters of the estimator without Dask."""
        params: dict[str, object] = self.get_params(deep=False)  # type: ignore[attr-defined]
        return {name: value for name, value in params.items() if name not in OWN}

    def __sklearn_clone__(self) -> Self:
        # A client cannot be copied, and the copy is to train on the same cluster.
        plain = clone(self._plain(**self._parameters()))
        return type(self)(**plain.get_params(deep=False), client=self.client, timeout=self.timeout)

    def __getstate__(self) -> dict[str, object]:
        # A client belongs to this process.
        return super().__getstate__() | {"client": None}  # type: ignore[operator,no-any-return]


@with_documentation_of(Parameters=xpnet.MLPClassifier)
@dataclass(eq=False, repr=False)
class MLPClassifier(OnCluster, xpnet.MLPClassifier):
    """A multi-layer perceptron that classifies, trained on the workers of a Dask cluster.

    It finds what `xpnet.MLPClassifier` finds on all rows together, to rounding, whatever the number
    of workers. Each worker is a rank of a group: it takes the rows of a batch that it has, and the
    gradients are added up.

    Parameters
    ----------
    <parameters of both estimators>
    client : distributed.Client, optional
        The cluster to train on. By default the client that was made last.
    timeout : float, default 300
        Seconds that a worker waits for another before ``fit`` fails.

    See Also
    --------
    xpnet.MLPClassifier : The estimator without Dask, and its fitted attributes.
    xpnet.use_group : Training on several processes that MPI or torchrun has started.

    Examples
    --------
    >>> import dask.array
    >>> from distributed import Client
    >>> from xpnet.dask import MLPClassifier
    >>> client = Client(n_workers=2, threads_per_worker=1)  # doctest: +SKIP
    >>> X = dask.array.random.random((100_000, 20), chunks=(10_000, 20))
    >>> y = (X.sum(axis=1) > 10).astype("int64")
    >>> model = MLPClassifier((50,), max_iter=5, client=client).fit(X, y)  # doctest: +SKIP
    >>> model.predict_proba(X)  # doctest: +SKIP
    dask.array<..., shape=(100000, 2), dtype=float64, chunksize=(10000, 2), ...>
    """

    _plain: ClassVar[type[Any]] = xpnet.MLPClassifier

    def partial_fit(
        self,
        X: "Collection",
        y: "Collection",
        sample_weight: "Collection | None" = None,
        classes: ArrayLike | None = None,
        **validation: "Collection",
    ) -> Self:
        """Train for one epoch on the workers of the cluster.

        Parameters
        ----------
        X, y, sample_weight : Dask collections
            See ``fit``.
        classes : array, shape (classes,), optional
            Every label there will ever be; needed at the first call.
        **validation : array or Dask collection
            See ``fit``.

        Returns
        -------
        MLPClassifier
            The estimator itself.
        """
        return self._train_on_cluster(
            "partial_fit", X, y, sample_weight, {"classes": classes, **validation}
        )

    def predict_proba(self, X: "RowsLike | Collection", *, offset: ArrayLike | None = None) -> Any:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array, shape (rows, features)
            Dask's, or any that the estimator without Dask takes.
        offset : array, shape (rows,) or (rows, classes), optional
            Offsets of rows in memory, as `xpnet.MLPClassifier.predict_proba` takes them.

        Returns
        -------
        array, shape (rows, classes)
            In the order of ``classes_``: a Dask array for a Dask array, a Dask frame for a Dask
            frame.
        """
        return self._each_block("predict_proba", X, offset=offset)

    @documented_as(predict_proba)
    def predict_log_proba(
        self, X: "RowsLike | Collection", *, offset: ArrayLike | None = None
    ) -> Any:
        """Predict the logarithm of each class's probability."""
        return self._each_block("predict_log_proba", X, offset=offset)


@with_documentation_of(Parameters=xpnet.MLPRegressor)
@dataclass(eq=False, repr=False)
class MLPRegressor(OnCluster, xpnet.MLPRegressor):
    """A multi-layer perceptron that predicts numbers, trained on the workers of a Dask cluster.

    See `xpnet.dask.MLPClassifier` for how it trains.

    Parameters
    ----------
    <parameters of both estimators>
    client : distributed.Client, optional
        The cluster to train on. By default the client that was made last.
    timeout : float, default 300
        Seconds that a worker waits for another before ``fit`` fails.

    See Also
    --------
    xpnet.MLPRegressor : The estimator without Dask, and its fitted attributes.

    Examples
    --------
    >>> import dask.array
    >>> from distributed import Client
    >>> from xpnet.dask import MLPRegressor
    >>> client = Client(n_workers=2, threads_per_worker=1)  # doctest: +SKIP
    >>> X = dask.array.random.random((100_000, 20), chunks=(10_000, 20))
    >>> model = MLPRegressor((50,), max_iter=5, client=client)  # doctest: +SKIP
    >>> model = model.fit(X, X.sum(axis=1))  # doctest: +SKIP
    """

    _plain: ClassVar[type[Any]] = xpnet.MLPRegressor

    def partial_fit(
        self,
        X: "Collection",
        y: "Collection",
        sample_weight: "Collection | None" = None,
        **validation: "Collection",
    ) -> Self:
        """Train for one epoch on the workers of the cluster.

        Parameters
        ----------
        X, y, sample_weight : Dask collections
            See ``fit``.
        **validation : array or Dask collection
            See ``fit``.

        Returns
        -------
        MLPRegressor
            The estimator itself.
        """
        return self._train_on_cluster("partial_fit", X, y, sample_weight, validation)
