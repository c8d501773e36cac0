"""The network that an estimator holds, and the attributes by which scikit-learn knows its
parameters.
"""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter, is_
from typing import Any, Self

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted

from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.data.sources import Source, as_source
from xpnet.errors import InputError, MixedArraysError
from xpnet.estimators.checks import check_X
from xpnet.estimators.learning_rate import LearningRate
from xpnet.estimators.parameters import EstimatorParameters
from xpnet.estimators.record import Recorded, TrainingRecord
from xpnet.learning.parameters import check_parameters
from xpnet.models import Network
from xpnet.models.inputs import check_spec, is_host, is_on_host
from xpnet.models.saving import Saved
from xpnet.ops import Array
from xpnet.typing import ArrayLike, Namespace

FACTS: dict[str, type | tuple[type, ...]] = {
    "n_iter_": int,
    "t_": int,
    "loss_": float,
    "loss_curve_": list,
    "best_loss_": (float, type(None)),
    "validation_loss_curve_": list,
    "validation_scores_": (list, type(None)),
    "best_validation_score_": (float, type(None)),
    "feature_names_in_": numpy.ndarray,
    "_no_improvement_count": int,
    "backend_": str,
    "device_": str,
}
"""``fit`` sets these attributes of these types, besides the parameters; the rest follows from the
network.
"""

LABEL_FACTS: dict[str, type | tuple[type, ...]] = {
    "classes_": (numpy.ndarray, list),
    "_sparse_labels": bool,
}
"""A classifier's ``fit`` sets these as well."""


SHOWN = ("coefs_", "intercepts_", "_shown")
"""Attributes that show the network's parameters, from when they are first read."""


@dataclass(frozen=True)
class FittedState:
    """The result of ``fit``, as data.

    spec : the network that the parameters of the constructor describe
    values : its parameters by name, NumPy's
    best : those of the best epoch, with early stopping; else None
    facts : FACTS, and of a classifier LABEL_FACTS, by name
    """

    spec: NetworkSpec
    values: dict[str, numpy.ndarray]
    best: dict[str, numpy.ndarray] | None
    facts: dict[str, Any]


class FittedNetwork(Saved, EstimatorParameters):
    """An estimator that computes with a network of ``xpnet.models``, and shows its parameters as
    NumPy arrays.

    ``coefs_`` and ``intercepts_`` are the network's own parameters where those lie on the host,
    read-only copies elsewhere. Other arrays put in their place become the network's. Of several
    members they are the weights that these share, without their factors, and the last layers and
    biases of all.
    """

    out_activation_: str
    _network: Network | None = None
    _optimizer: LearningRate
    _record: TrainingRecord
    _shown: tuple[Network | None, tuple[numpy.ndarray, ...]] = (None, ())

    @cached_property
    def coefs_(self) -> list[numpy.ndarray]:
        """Weights, layer by layer: (fan_in, fan_out), NumPy's."""
        return self._show()[0]

    @cached_property
    def intercepts_(self) -> list[numpy.ndarray]:
        """Biases, layer by layer: (fan_out,), NumPy's."""
        return self._show()[1]

    backend_: property = property(
        attrgetter("_fitted.backend_"), doc="Name of the backend that computes."
    )
    device_: property = property(
        attrgetter("_fitted.device_"), doc="The device that the parameters lie on."
    )
    dtype_: property = property(
        attrgetter("_fitted.dtype_"), doc="The dtype, ``float32`` or ``float64``."
    )
    why_: property = property(
        attrgetter("_fitted.why_"), doc="Which backend and which training step run, and why."
    )

    n_iter_: Recorded = Recorded()
    t_: Recorded = Recorded()
    loss_: Recorded = Recorded()
    best_loss_: Recorded = Recorded()
    loss_curve_: Recorded = Recorded()
    validation_loss_curve_: Recorded = Recorded()
    validation_scores_: Recorded = Recorded()
    best_validation_score_: Recorded = Recorded()
    _no_improvement_count = Recorded("no_improvement_count")

    def to(self, backend: str | Backend | Array) -> Self:
        """Move a fitted estimator and its optimizer state; it then converts its inputs.

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
        self._hide()
        return self

    def get_fitted_state(self) -> FittedState:
        """Return what ``fit`` has learned, as data.

        Returns
        -------
        FittedState
            Copies of the network's description, its parameters, those of the best epoch or None,
            and attributes, from which ``set_fitted_state`` makes an estimator that predicts the
            same.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        """
        check_is_fitted(self)
        network = self._current()
        spec = self._described(network.spec)
        facts = {name: getattr(self, name) for name in FACTS | LABEL_FACTS if hasattr(self, name)}
        scored = facts.get("validation_scores_") is not None
        best = self._record.best_parameters if scored else None
        return FittedState(spec, network.values(), best, facts)

    def set_fitted_state(self, state: FittedState, *, backend: str | Backend | None = None) -> Self:
        """Take over what a ``fit`` with the same parameters of the constructor has learned.

        Parameters
        ----------
        state : FittedState
            What ``get_fitted_state`` has returned.
        backend : str or Backend, optional
            Where to compute; None for where the first arrays lie.

        Returns
        -------
        MLPClassifier or MLPRegressor
            The estimator itself.

        Raises
        ------
        InputError
            For parameters of the constructor that are not allowed, or that describe another
            network.
        """
        check_parameters(self)
        spec = state.spec
        for name, value in state.facts.items():
            if name not in ("backend_", "device_"):  # which follow from the network
                setattr(self, name, value)
        if check_spec(self._described(spec)) != spec:
            raise InputError(
                f"The parameters of this {type(self).__name__} must describe its network, {spec}; "
                "got parameters that describe another one."
            )
        if state.best is not None:
            self._record.best_parameters = state.best
        self.n_features_in_: int = spec.widths[0]
        self.n_outputs_: int = spec.widths[-1]
        self.n_layers_: int = len(spec.widths)
        self.out_activation_ = OUTPUT_ACTIVATIONS[spec.loss]
        self._optimizer = LearningRate(self)
        self._network = Network(
            spec, state.values, self._optimizer, backend=backend, dtype=spec.dtype
        )
        self._share_history()
        return self

    def _described(self, spec: NetworkSpec) -> NetworkSpec:
        """Describe the network of some widths, loss and dtype by the parameters of the
        constructor.
        """
        return self._network_spec(spec.widths, spec.loss, spec.dtype, self._loss_numbers())

    @property
    def _fitted(self) -> Network:
        """Return the network. Raises AttributeError before there is one, so that ``hasattr``
        works.
        """
        if self._network is None:
            raise AttributeError(f"This {type(self).__name__} has no network before it is fitted.")
        return self._network

    def _current(self) -> Network:
        """Return the network, with what the user has put in the place of its parameters."""
        network = self._fitted
        shown = self._shown
        own = self.__dict__
        if "coefs_" in own:
            arrays = [*own["coefs_"], *own["intercepts_"]]
            same = len(arrays) == len(shown[1]) and all(map(is_, arrays, shown[1]))
            # Another thread may have fitted again just now: then the arrays are not the user's, but
            # the next network's.
            if not same and shown[0] is network and self._shown is shown:
                spec = network.spec
                network.load_values(
                    dict(zip((*spec.weight_names, *spec.bias_names), arrays, strict=True))
                )
                self._hide()
        return network

    def _show(self) -> tuple[list[numpy.ndarray], list[numpy.ndarray]]:
        """Synchronise ``coefs_`` and ``intercepts_`` with the network, and return both."""
        network = self._fitted
        spec = network.spec
        is_elsewhere = not is_host(network.backend)
        params: Mapping[str, Any] = network.params.to_host() if is_elsewhere else network.params
        coefs = [params[name] for name in spec.weight_names]
        intercepts = [params[name] for name in spec.bias_names]
        if is_elsewhere:
            # A value that is written into these copies would not change the network.
            for array in (*coefs, *intercepts):
                array.flags.writeable = False
        self.__dict__.update(
            coefs_=coefs, intercepts_=intercepts, _shown=(network, (*coefs, *intercepts))
        )
        return coefs, intercepts

    def _hide(self) -> None:
        """Forget what was shown; ``coefs_`` shows the network of now when it is read."""
        for name in SHOWN:
            self.__dict__.pop(name, None)

    def _check_library(self, network: Network, X: ArrayLike | Source, method: str) -> None:
        """Check that the rows of a call belong to the library that ``fit`` was called with."""
        try:
            network.check_same_namespace(X)
        except MixedArraysError as error:
            raise MixedArraysError(
                f"Rows of {type(self).__name__}.{method}() must use the same namespace and device "
                "as those of fit(). Convert them, or move the estimator with .to(X)."
            ) from error

    def _computed_for(
        self, X: ArrayLike | Source, method: str, compute: Callable[[Network, Array], Array]
    ) -> Array:
        """Check rows, and return what a function of the network and the rows computes, in X's
        library.

        method : the public method that was called, for errors

        Raises NotFittedError before ``fit``, MixedArraysError for rows of another library.
        """
        check_is_fitted(self)
        network = self._current()
        self._check_library(network, X, method)
        with network.on_device():
            return like_input(compute(network, check_X(self, X)), X, network.backend)

    def _outputs(self, X: ArrayLike | Source, method: str) -> tuple[Array, Backend]:
        """Compute outputs (rows, out), in the wider dtype of network and rows; return them and
        their backend.

        Raises NotFittedError before ``fit``, ValueError for other features or values that are not
        finite.
        """
        check_is_fitted(self)
        network = self._current()
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
            return network.predict(check_X(self, X)), network.backend
        checked = check_X(self, X, finite=False)
        outputs = network.predict_finite(checked)
        if outputs is None:
            check_X(self, X)  # raises, and says which value it is
            raise InputError(
                f"`X` must be within the range of {network.dtype_}, in which this estimator "
                "computes; got larger values. Scale X."
            )
        return outputs.astype(numpy.result_type(checked.dtype, outputs.dtype), copy=False), backend

    def predict_members(self, X: ArrayLike | Source) -> Array:
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
        return self._computed_for(
            X,
            "predict_members",
            lambda network, X: self._in_order(network.predict_members(X), network.backend.xp),
        )

    def _in_order(self, outputs: Array, xp: Namespace) -> Array:
        """Return outputs (..., outputs) as they are predicted: several quantiles in rising
        order.
        """
        return outputs

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = dict(super().__getstate__())  # type: ignore[call-overload]
        if self._network is not None:  # a copy trains on alone
            state |= {
                "_network": copy(self._current()),
                "_optimizer": copy(self._optimizer),
                "_record": copy(self._record),
            }
        return {name: value for name, value in state.items() if name not in SHOWN}

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        self._share_history()

    def _share_history(self) -> None:
        """Make the loss curves and the network's history one list each."""
        if self._network is not None and hasattr(self, "loss_curve_"):
            history = self._network.history
            history.loss = self.loss_curve_
            history.validation_loss = self.validation_loss_curve_


def like_input(result: Array, X: object, backend: Backend) -> Array:
    """Return a result as the caller expects it: NumPy's for host data, the network's own
    otherwise.
    """
    return numpy.asarray(backend.to_numpy(result)) if is_on_host(X) else result
