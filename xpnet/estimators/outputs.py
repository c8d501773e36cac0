"""What the network of a fitted estimator computes for the rows of a call."""

from collections.abc import Callable

import numpy
from scipy.sparse import issparse

from xpnet.backend import Backend
from xpnet.data.sources import RowsLike, as_source
from xpnet.errors import InputError, MixedArraysError
from xpnet.estimators.checks import check_X
from xpnet.estimators.fitted import MLPAttributes
from xpnet.learning.scikit_learn import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from xpnet.learning.targets import ClassTargets
from xpnet.models import Network
from xpnet.models.inputs import is_host, is_on_host, require
from xpnet.typing import Array


class NetworkOutputs(ClassNamePrefixFeaturesOutMixin, TransformerMixin, MLPAttributes):
    """Computes outputs, hidden outputs and gradients of a fitted network, for rows of any library.

    scikit-learn wraps ``transform`` for ``set_output`` in the class that defines it.
    """

    def _outputs(self, X: RowsLike, method: str) -> tuple[Array, Backend]:
        """Compute outputs (rows, out), in the wider dtype of network and rows; return them and
        their backend.

        Raises NotFittedError before ``fit``, ValueError for other features or values that are not
        finite.
        """
        fitted = self._record_of_fit()
        network = fitted.network
        backend = network.backend
        source = None
        if type(X) is not numpy.ndarray:
            source = as_source(X, dtype=network.spec.dtype)
        if source is not None:
            parts = (part for block in range(source.blocks) for part in source.parts(block))
            blocks = [self._outputs(part, method)[0] for part in parts]
            with network.on_device():
                return backend.xp.concat(blocks), backend
        self._check_library(network, X, method)
        if issparse(X) or not (is_on_host(X) and is_host(backend)):
            return network.predict(check_X(X, type(self), fitted.columns)), network.backend
        checked = check_X(X, type(self), fitted.columns, finite=False)
        outputs = network.predict_finite(checked)
        if outputs is None:
            check_X(X, type(self), fitted.columns)  # raises, and says which value it is
            raise InputError(
                f"`X` must be within the range of {network.dtype_}, in which this estimator "
                "computes; got larger values. Scale X."
            )
        return outputs.astype(numpy.result_type(checked.dtype, outputs.dtype), copy=False), backend

    def _computed_for(
        self, X: RowsLike, method: str, compute: Callable[[Network, Array], Array]
    ) -> Array:
        """Check rows, and return what a function of the network and the rows computes, in X's
        library.

        method : the public method that was called, for errors

        Raises NotFittedError before ``fit``, MixedArraysError for rows of another library.
        """
        fitted = self._record_of_fit()
        network = fitted.network
        self._check_library(network, X, method)
        with network.on_device():
            checked = check_X(X, type(self), fitted.columns)
            return like_input(compute(network, checked), X, network.backend)

    def _check_library(self, network: Network, X: RowsLike, method: str) -> None:
        """Check that the rows of a call belong to the library that ``fit`` was called with."""
        try:
            network.check_same_namespace(X)
        except MixedArraysError as error:
            raise MixedArraysError(
                f"Rows of {type(self).__name__}.{method}() must use the same namespace and device "
                "as those of fit(). Convert them, or move the estimator with .to(X)."
            ) from error

    def transform(self, X: RowsLike, layer: int = -1) -> Array:
        """Compute the outputs of a hidden layer: learned features for another model.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.
        layer : int, default -1
            Which hidden layer: 0 for the first, -1 for the last.

        Returns
        -------
        array, shape (rows, units)
            Its outputs, activation included, of X's library; of several members side by side.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, values that are not finite, and a layer that is not there.
        """
        return self._computed_for(X, "transform", lambda network, X: network.hidden(X, layer))

    @property
    def _n_features_out(self) -> int:
        """Columns of ``transform``, by which scikit-learn names them."""
        spec = self._record_of_fit().network.spec
        return spec.widths[-2] * spec.members

    def predict_members(self, X: RowsLike) -> Array:
        """Predict with each member on its own, to see how far they agree.

        Parameters
        ----------
        X : array or scipy sparse matrix, shape (rows, features)
            The rows; a data frame or lists, too.

        Returns
        -------
        array, shape (members, rows, outputs)
            Numbers, or probabilities of classes, of two classes that of the second; of X's library.
            Their mean over the members is what the estimator predicts, their standard deviation
            says how far the members agree. Of several quantiles each member's are in rising order.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, and for values that are not finite.
        MixedArraysError
            For arrays of another library than those of ``fit``.
        """
        targets = self._record_of_fit().targets
        return self._computed_for(
            X,
            "predict_members",
            lambda network, X: targets.in_order(network.predict_members(X), network.backend.xp),
        )

    def input_gradient(self, X: RowsLike, output: int = -1) -> Array:
        """Compute how a prediction changes where a feature changes a little.

        Parameters
        ----------
        X : array, shape (rows, features)
            The rows, dense; a data frame or lists, too.
        output : int, default -1
            A column of ``predict_proba``, or of ``predict`` of a regressor; of two classes -1 is
            the second.

        Returns
        -------
        array, shape (rows, features)
            The gradient of that output with respect to the features, at each row, of X's library.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ValueError
            For other features, values that are not finite, and an output that is not there.

        See Also
        --------
        expected_gradients : Shares of a prediction, which add up.
        """
        return self._computed_for(X, "input_gradient", lambda _, X: self._input_gradient(X, output))

    def _input_gradient(self, X: Array, output: int) -> Array:
        """Compute ``input_gradient`` for checked rows, on the network's device."""
        fitted = self._record_of_fit()
        outputs = fitted.targets.outputs
        is_binary = isinstance(fitted.targets, ClassTargets) and outputs == 1
        columns = 2 if is_binary else outputs
        require(
            -columns <= output < columns,
            f"`output` must be a column of the predictions, 0 to {columns - 1}",
            output,
        )
        gradient = fitted.network.input_gradient(X, 0 if is_binary else output % columns)
        return -gradient if is_binary and output % 2 == 0 else gradient


def like_input(result: Array, X: object, backend: Backend) -> Array:
    """Return a result as the caller expects it: NumPy's for host data, the network's own
    otherwise.
    """
    return numpy.asarray(backend.to_numpy(result)) if is_on_host(X) else result
