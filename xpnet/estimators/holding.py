"""The network that an estimator holds, and the attributes by which scikit-learn knows its parameters."""

import operator
from functools import cached_property
from typing import Any, Self

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted

from xpnet.backend import Backend
from xpnet.data.sources import as_source
from xpnet.dispatch import Choice, choose, get_backend
from xpnet.errors import InputError, MixedArraysError
from xpnet.estimators.inputs import check_X
from xpnet.estimators.plain import network_of, plain_network, plain_rate, rate_of
from xpnet.estimators.rates import LearningRate
from xpnet.models import Network
from xpnet.models.placement import check_in_memory, is_host, on_host
from xpnet.models.saving import Saved
from xpnet.ops import Array


class HoldsNetwork(Saved):
    """An estimator that computes with a network of ``xpnet.models``, and shows its parameters as NumPy arrays.

    ``coefs_`` and ``intercepts_`` are the network's own parameters where those lie on the host, read-only copies
    elsewhere. Other arrays put in their place become the network's.
    """

    backend: str | Backend | None
    _optimizer: LearningRate
    _network: Network | None = None
    _shown: tuple[Network | None, tuple[Any, ...]] = (None, ())

    @cached_property
    def coefs_(self) -> list[Any]:
        """Weights, layer by layer: (fan_in, fan_out), NumPy's."""
        self._export()
        return vars(self)["coefs_"]

    @cached_property
    def intercepts_(self) -> list[Any]:
        """Biases, layer by layer: (fan_out,), NumPy's."""
        self._export()
        return vars(self)["intercepts_"]

    @property
    def backend_(self) -> str:
        """Name of the backend that computes."""
        return self._fitted.backend_

    @property
    def device_(self) -> str:
        """The device that the parameters lie on."""
        return self._fitted.device_

    @property
    def dtype_(self) -> str:
        """``float32`` or ``float64``."""
        return self._fitted.dtype_

    @property
    def why_(self) -> str:
        """Which backend and which training step run, and why."""
        return self._fitted.why_

    def to(self, backend: str | Backend | Array) -> Self:
        """Move a fitted estimator, optimizer state included; from there on it converts what it is given.

        Parameters
        ----------
        backend : str, Backend or array
            A name, a backend, or an array, whose library and device are adopted.

        Returns
        -------
        MLPClassifier or MLPRegressor
            The estimator itself.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        BackendError
            For a backend that is not usable.
        """
        check_is_fitted(self)
        self._current().to(backend)
        self._export()
        return self

    @property
    def _fitted(self) -> Network:
        """The network. Raises AttributeError before there is one, so that ``hasattr`` works."""
        if self._network is None:
            raise AttributeError(f"This {type(self).__name__} has no network before it is fitted.")
        return self._network

    def _current(self) -> Network:
        """The network, with what the user has put in the place of its parameters."""
        network, shown, given = self._network or self._fitted, self._shown, vars(self)
        if "coefs_" in given:
            arrays = [*given["coefs_"], *given["intercepts_"]]
            same = len(arrays) == len(shown[1]) and all(map(operator.is_, arrays, shown[1]))
            # Another thread may have fitted anew just now: then the arrays are not the user's, but the next network's.
            if not same and shown[0] is network and self._shown is shown:
                names = network.spec.parameter_names
                network.load_values(dict(zip((*names[::2], *names[1::2]), arrays, strict=True)))
                self._export()
        return network

    def _export(self) -> None:
        """Show what the network holds now."""
        network = self._network or self._fitted
        arrays, backend = list(network.params.values()), network.backend
        if not is_host(backend):
            arrays = [read_only(array, backend) for array in arrays]
        coefs, intercepts = arrays[::2], arrays[1::2]
        vars(self).update(coefs_=coefs, intercepts_=intercepts, _shown=(network, (*coefs, *intercepts)))

    def _hide(self) -> None:
        """Forget what was shown of another network, or of this one on another step; ``coefs_`` shows it anew when read."""
        for name in ("coefs_", "intercepts_", "_shown"):
            vars(self).pop(name, None)

    def _choice_for(self, X: Any) -> Choice:
        """Where a new network for these rows lives."""
        choice = choose(X, backend=self.backend)
        if issparse(X) and not is_host(choice.backend):
            choice = Choice(get_backend("numpy"), "X is sparse, which NumPy and SciPy multiply")
        return choice

    def _check_home(self, X: Any) -> None:
        """Raise MixedArraysError for rows of another library, unless the network converts what it is given."""
        network = self._fitted
        if network.named or not network.settled or issparse(X):
            return
        if type(X) is numpy.ndarray and is_host(network.backend):
            return
        choice = choose(X, backend=self.backend)
        if choice.backend.xp is not network.backend.xp:
            raise MixedArraysError(
                f"This estimator lives on {network.backend_}; received arrays for {choice.backend.name}. "
                "Move it with .to(X), or the arrays."
            )

    def _outputs(self, X: Any) -> tuple[Array, Backend]:
        """Network outputs (rows, out), in the wider dtype of network and rows, and the backend that they belong to.

        Raises NotFittedError before ``fit``, ValueError for other features or values that are not finite.
        """
        check_is_fitted(self)
        network = self._current()
        backend, plain = network.backend, type(X) is numpy.ndarray
        if not plain:
            if (source := as_source(X, dtype=network.spec.dtype)) is not None:
                parts = (part for block in range(source.blocks) for part in source.parts(block))
                return backend.xp.concat([self._outputs(part)[0] for part in parts]), backend
            check_in_memory((X,))
        if not (plain and is_host(backend)):
            self._check_home(X)
        if not (plain or (on_host(X) and not issparse(X))) or not is_host(backend):
            return network.predict(check_X(self, X)), network.backend
        checked = check_X(self, X, finite=False)
        outputs = network.predict_finite(checked)
        if outputs is None:
            check_X(self, X)  # raises, and says which value it is
            raise InputError(
                f"Values of X must be within the range of {network.dtype_}, in which this estimator computes. Scale X."
            )
        return outputs.astype(numpy.result_type(checked.dtype, outputs.dtype), copy=False), backend

    def __getstate__(self) -> dict[str, Any]:
        if self._network is None:
            return super().__getstate__()  # type: ignore[return-value]
        self._current()
        state: dict[str, Any] = super().__getstate__().copy()  # type: ignore[attr-defined]
        for name in ("coefs_", "intercepts_", "_shown"):
            state.pop(name, None)
        # A copy of the network shares nothing with it, also in copy.copy.
        return {**state, "_network": plain_network(self._network), "_optimizer": plain_rate(self._optimizer)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state.get("_network"), dict):
            rate = rate_of(state["_optimizer"])
            state = {**state, "_network": network_of(state["_network"], rate), "_optimizer": rate}
        super().__setstate__(state)  # type: ignore[misc]
        self._share_history()

    def _share_history(self) -> None:
        """The loss curves are the network's history, one list each."""
        found = vars(self)
        if self._network is not None and "loss_curve_" in found:
            history = self._network.history
            history.loss, history.validation_loss = found["loss_curve_"], found["validation_loss_curve_"]


def read_only(array: Array, backend: Backend) -> Any:
    """A copy as a NumPy array that may not be written to, since that would change nothing where the network lives."""
    copied = backend.to_numpy(array).copy()
    copied.flags.writeable = False
    return copied


def like_input(result: Array, X: Any, backend: Backend) -> Array:
    """A result as the caller expects it: NumPy's for host data, the network's own otherwise."""
    return numpy.asarray(backend.to_numpy(result)) if on_host(X) else result
