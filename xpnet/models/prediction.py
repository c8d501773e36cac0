"""A network's predictions, hidden units, and gradients with respect to the inputs."""

from typing import cast

import numpy

from xpnet.backend.step import PREDICTION_ROWS
from xpnet.errors import InputError
from xpnet.models.inputs import check_inputs, is_host, is_sparse, require
from xpnet.models.placement import PlacedNetwork
from xpnet.ops import Array
from xpnet.steps import ReferenceStep, forward_finite, locked
from xpnet.typing import ArrayLike


class PredictingNetwork(PlacedNetwork):
    """A network that computes what its parameters make of rows, and does not change them."""

    @locked
    def predict(self, X: ArrayLike) -> Array:
        """Predict class probabilities.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows, of the network's library, or NumPy's or lists; SciPy's sparse matrices where
            arrays are NumPy's.

        Returns
        -------
        array, shape (rows, out)
            Probabilities (what the output activation gives), on the network's library, device and
            dtype.

        Raises
        ------
        InputError
            For another number of columns.
        MixedArraysError
            For arrays of another library.
        """
        host_rows = type(X) is numpy.ndarray and self.settled and is_host(self.choice.backend)
        X = numpy.asarray(X, dtype=self.spec.dtype) if host_rows else self._coerce(X)[0]
        if X.ndim != 2 or X.shape[1] != self.spec.widths[0]:
            check_inputs(X, self.spec.widths[0])
        if host_rows and self._step is not None:
            return self._step.forward(X)
        with self.on_device():
            return self.step_for(X).forward(X)

    @locked
    def predict_members(self, X: ArrayLike) -> Array:
        """Predict class probabilities by each member; ``predict`` gives their mean.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows, as for ``predict``.

        Returns
        -------
        array, shape (members, rows, out)
            The probabilities of each member.

        Raises
        ------
        InputError
            For another number of columns.
        MixedArraysError
            For arrays of another library.

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> net = xpnet.FeedforwardNeuralNet(2, 8, 3, members=4, rng=0)
        >>> net.predict_members(numpy.ones((5, 2))).shape
        (4, 5, 3)
        """
        X = check_inputs(self._coerce(X)[0], self.spec.widths[0])
        with self.on_device():
            if self.spec.members == 1:
                return self.step_for(X).forward(X)[None, ...]
            walker = self._walker(X)
            starts = range(0, max(X.shape[0], 1), PREDICTION_ROWS)
            parts = [walker.forward_of_each(X[start : start + PREDICTION_ROWS]) for start in starts]
            return walker.backend.xp.concat(parts, axis=1)

    @locked
    def hidden(self, X: ArrayLike, layer: int = -1) -> Array:
        """Compute what a hidden layer makes of rows, its activation included.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows, as for ``predict``.
        layer : int, default -1
            Which hidden layer: 0 for the first, -1 for the last.

        Returns
        -------
        array, shape (rows, units)
            Its outputs, on the network's library, device and dtype; of several members side by
            side.

        Raises
        ------
        InputError
            For another number of columns, and for a layer that is not there.

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> xpnet.FeedforwardNeuralNet(2, 8, 3, rng=0).hidden(numpy.ones((5, 2))).shape
        (5, 8)
        """
        layers = len(self.spec.activations)
        require(
            -layers <= layer < layers, f"`layer` must name one of {layers} hidden layers", layer
        )
        X = check_inputs(self._coerce(X)[0], self.spec.widths[0])
        with self.on_device():
            return self._walker(X).hidden(X, layer % layers)

    @locked
    def input_gradient(self, X: ArrayLike, output: int = 0) -> Array:
        """Compute the gradient of a predicted output with respect to the inputs.

        Parameters
        ----------
        X : array, shape (rows, in)
            The rows, as for ``predict``, but dense.
        output : int, default 0
            The column of ``predict`` whose gradient is asked for.

        Returns
        -------
        array, shape (rows, in)
            The gradient at each row, on the network's library, device and dtype; of several members
            that of their mean.

        Raises
        ------
        InputError
            For another number of columns, for sparse rows, and for an output that is not there.

        Examples
        --------
        >>> import numpy
        >>> import xpnet
        >>> net = xpnet.FeedforwardNeuralNet(2, 8, 3, rng=0)
        >>> gradient = net.input_gradient(numpy.ones((5, 2)), output=1)
        >>> gradient.shape
        (5, 2)
        """
        outputs = self.spec.widths[-1]
        require(
            0 <= output < outputs,
            f"`output` must be a column of predict, 0 to {outputs - 1}",
            output,
        )
        if is_sparse(X):
            raise InputError(
                "`X` must be dense for gradients with respect to the inputs; got a SciPy sparse "
                "matrix; pass X.toarray()."
            )
        X = check_inputs(self._coerce(X)[0], self.spec.widths[0])
        with self.on_device():
            return self._walker(X).input_gradient(X, output)

    @locked
    def predict_finite(self, X: numpy.ndarray) -> numpy.ndarray | None:
        """Predict as ``predict`` does, unless X holds NaN or infinity.

        Parameters
        ----------
        X : numpy.ndarray, shape (rows, in)
            The rows, of as many columns as the network takes; the network lives on the host.

        Returns
        -------
        numpy.ndarray, shape (rows, out), or None
            None where a value is not finite.
        """
        if not self.settled:
            self._adopt([X])
        # A network on the host has outputs of NumPy.
        return cast("numpy.ndarray | None", forward_finite(self._ready(), X))

    def _walker(self, X: object) -> ReferenceStep:
        """A step with the parameters of this network that walks the layers one by one."""
        params = self.step_for(X).params
        walker = ReferenceStep(self.spec, params.backend, "")
        walker.params = params
        return walker
