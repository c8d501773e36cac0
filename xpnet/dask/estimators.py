"""scikit-learn's contract over Dask collections: ``fit`` on the cluster's workers, predictions block by block."""

from dataclasses import KW_ONLY, dataclass
from inspect import cleandoc
from typing import Any, ClassVar, Self

from sklearn.metrics import accuracy_score, r2_score

import xpnet
from xpnet.dask.pieces import is_collection, partitions, predict_blocks
from xpnet.dask.training import train
from xpnet.dispatch.groups import TIMEOUT
from xpnet.errors import BackendError

OWN = ("client", "timeout")
"""Parameters that the estimators without Dask do not have."""


@dataclass(frozen=True)
class _Fit:
    """What each worker does with its rows."""

    estimator: Any
    validation: dict[str, Any]

    def __call__(self, X: Any, y: Any, sample_weight: Any) -> Any:
        return self.estimator.fit(X, y, sample_weight, **self.validation)


class OnCluster:
    """What both estimators add to those of ``xpnet``."""

    client: Any
    timeout: float
    _plain: ClassVar[Any]

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **validation: Any) -> Self:
        """Train on the workers of the cluster.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame, shape (rows, features)
            The rows, in blocks. Each worker computes some of the blocks and keeps them in its memory.
        y : dask.array.Array, Series or DataFrame, shape (rows,) or (rows, outputs)
            The targets, in blocks like those of ``X``.
        sample_weight : dask.array.Array or Series, shape (rows,), optional
            Weights of the rows.
        **validation : array
            ``X_val``, ``y_val`` and ``sample_weight_val``: rows in memory, which every worker is sent.

        Returns
        -------
        object
            The estimator itself, with what the estimator without Dask would find on all rows.

        Raises
        ------
        BackendError
            When there is no cluster, or a worker is lost.
        InputError
            For what is no Dask collection, or is cut into other blocks than ``X``.
        """
        parameters = self._parameters()
        fit = _Fit(self._plain(**parameters), validation)
        fitted = train(_client(self.client), partitions(X, y, sample_weight), fit, timeout=self.timeout)
        vars(self).update({name: value for name, value in vars(fitted).items() if name not in parameters})
        return self

    def predict(self, X: Any) -> Any:
        """Labels, or numbers, for rows: see the estimator without Dask.

        Parameters
        ----------
        X : array, shape (rows, features)
            Dask's, or any that the estimator without Dask takes.

        Returns
        -------
        array, shape (rows,) or (rows, outputs)
            A Dask array for a Dask array, a Dask series or frame for a Dask frame.
        """
        return self._each_block("predict", X)

    def _each_block(self, method: str, X: Any) -> Any:
        """What a method finds for rows."""
        if not is_collection(X):
            return getattr(self._plain, method)(self, X)
        return predict_blocks(self._without_cluster(), method, X)

    def _parameters(self) -> dict[str, Any]:
        """The parameters of the estimator without Dask."""
        params: dict[str, Any] = self.get_params(deep=False)  # type: ignore[attr-defined]
        return {name: value for name, value in params.items() if name not in OWN}

    def _without_cluster(self) -> Any:
        """The fitted estimator without Dask."""
        plain = self._plain(**self._parameters())
        plain.__setstate__({name: value for name, value in self.__getstate__().items() if name not in OWN})
        return plain

    def __sklearn_clone__(self) -> Self:
        # A client cannot be copied, and the copy is to train on the same cluster.
        from sklearn.base import clone

        plain = clone(self._plain(**self._parameters()))
        twin = type(self)(**plain.get_params(deep=False))
        twin.client, twin.timeout = self.client, self.timeout
        return twin

    def __getstate__(self) -> dict[str, Any]:
        # A client belongs to this process.
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {**state, "client": None}

    def _compared(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Targets, predictions and weights in the client's memory."""
        import dask

        return dask.compute(y, self.predict(X), sample_weight)


def _documented(kind: Any) -> Any:
    """Put the parameters of the estimator without Dask before those of the class, where ``help`` looks for them."""
    start = "Parameters\n----------\n"
    own = cleandoc(kind.__doc__)  # Python indents docstrings before 3.13
    if start in own:  # python -OO leaves docstrings out
        parameters = cleandoc(kind._plain.__doc__).split(start)[1].split("\n\n")[0]
        kind.__doc__ = own.replace(start, f"{start}{parameters}\n") + "\n"
    return kind


@_documented
@dataclass(eq=False, repr=False)
class MLPClassifier(OnCluster, xpnet.MLPClassifier):
    """A multi-layer perceptron that classifies, trained on the workers of a Dask cluster.

    It finds what `xpnet.MLPClassifier` finds on all rows together, to rounding, whatever the number of workers. Each
    worker is a rank of a group: it takes the rows of a batch that it has, and the gradients are added up.

    Parameters
    ----------
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

    _: KW_ONLY
    client: Any = None
    timeout: float = TIMEOUT

    _plain: ClassVar[Any] = xpnet.MLPClassifier

    def predict_proba(self, X: Any) -> Any:
        """Tell the probability of each class.

        Parameters
        ----------
        X : array, shape (rows, features)
            Dask's, or any that the estimator without Dask takes.

        Returns
        -------
        array, shape (rows, classes)
            In the order of ``classes_``: a Dask array for a Dask array, a Dask frame for a Dask frame.
        """
        return self._each_block("predict_proba", X)

    def predict_log_proba(self, X: Any) -> Any:
        """Tell the logarithm of each class's probability.

        Parameters
        ----------
        X : array, shape (rows, features)
            Dask's, or any that the estimator without Dask takes.

        Returns
        -------
        array, shape (rows, classes)
            In the order of ``classes_``: a Dask array for a Dask array, a Dask frame for a Dask frame.
        """
        return self._each_block("predict_log_proba", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Tell how many predictions are right.

        Parameters
        ----------
        X : array, shape (rows, features)
            Dask's, or any that the estimator without Dask takes.
        y, sample_weight : array, shape (rows,)
            Labels and weights. They come to the client's memory, as the predictions do.

        Returns
        -------
        float
            The accuracy.
        """
        y, predicted, sample_weight = self._compared(X, y, sample_weight)
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))


@_documented
@dataclass(eq=False, repr=False)
class MLPRegressor(OnCluster, xpnet.MLPRegressor):
    """A multi-layer perceptron that predicts numbers, trained on the workers of a Dask cluster.

    See `xpnet.dask.MLPClassifier` for how it trains.

    Parameters
    ----------
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
    >>> model = MLPRegressor((50,), max_iter=5, client=client).fit(X, X.sum(axis=1))  # doctest: +SKIP
    """

    _: KW_ONLY
    client: Any = None
    timeout: float = TIMEOUT

    _plain: ClassVar[Any] = xpnet.MLPRegressor

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Tell how much of the variance the predictions explain.

        Parameters
        ----------
        X : array, shape (rows, features)
            Dask's, or any that the estimator without Dask takes.
        y, sample_weight : array, shape (rows,)
            Targets and weights. They come to the client's memory, as the predictions do.

        Returns
        -------
        float
            R^2, the mean over outputs.
        """
        y, predicted, sample_weight = self._compared(X, y, sample_weight)
        return float(r2_score(y, predicted, sample_weight=sample_weight))


def _client(client: Any) -> Any:
    """The client of the cluster to train on; for None the one that was made last.

    Raises BackendError where there is none.
    """
    if client is not None:
        return client
    from distributed import get_client

    try:
        return get_client()
    except ValueError as error:
        raise BackendError(
            "Training needs a Dask cluster; there is no client. Make one, distributed.Client(...), or pass client=."
        ) from error
