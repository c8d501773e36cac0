"""Where an estimator computes, and how arrays get there and back."""

from typing import Any, Self

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted

from xpnet.backend import Backend, Step
from xpnet.dispatch import Choice, choose, get_backend
from xpnet.dispatch.choice import by_arrays, library_of
from xpnet.errors import MixedArraysError
from xpnet.estimators.optimizer import Optimizer
from xpnet.ops import Array


class Placement:
    """An estimator's home: the backend that fitted it, until ``to`` names another.

    backend_, device_, dtype_ : where and in what width it computes; why_ : what trained it, and for what reason
    """

    backend: str | Backend | None
    coefs_: list[Any]
    intercepts_: list[Any]
    _home: Choice | None = None
    _moved = False
    _optimizer: Optimizer

    def to(self, backend: str | Backend | Array) -> Self:
        """Move a fitted estimator, optimizer state included; from there on it converts what it is given.

        backend : a name, a backend, or an array, whose library and device are adopted
        returns the estimator itself

        Raises NotFittedError before ``fit``, BackendError for a backend that is not usable.
        """
        check_is_fitted(self)
        self._home = choose(backend) if library_of(backend) else choose(backend=backend)
        self._moved = True
        if hasattr(self, "_optimizer"):
            self._optimizer.leave()
        self._note_home()
        return self

    @property
    def _here(self) -> Choice:
        """The home of an estimator that has one. Raises AttributeError before, so that ``hasattr`` works."""
        if self._home is None:
            raise AttributeError("An estimator computes nowhere until it is fitted.")
        return self._home

    def _find_home(self, X: Any, *, settle: bool = False) -> Choice:
        """The home for these rows: a new one where there is none or it is to be settled anew."""
        if issparse(X):
            return Choice(get_backend("numpy"), "X is sparse, which NumPy and SciPy multiply")
        choice = choose(X, backend=self.backend)
        if settle or self._home is None:
            return choice
        if self._moved or choice.backend.xp is self._home.backend.xp:
            return self._home
        raise MixedArraysError(
            f"This estimator lives on {self._home.backend.name}; received arrays for {choice.backend.name}. "
            "Move it with .to(X), or the arrays."
        )

    def _note_home(self) -> None:
        backend = self._here.backend
        self.backend_ = backend.name
        self.device_ = backend.device(backend.asarray(self.coefs_[0]))
        self.dtype_ = str(self.coefs_[0].dtype)

    def _weights(self, home: Choice) -> tuple[list[Array], list[Array]]:
        """The parameters at home. ``coefs_`` and ``intercepts_`` are what counts; nothing is copied that is there."""
        if self._own_step(home) is not None:
            return self._optimizer.parameters()
        move = home.backend.asarray
        return [move(c) for c in self.coefs_], [move(b) for b in self.intercepts_]

    def _own_step(self, home: Choice) -> Step | None:
        """The step that trained, if it is at home and still holds the parameters."""
        optimizer = getattr(self, "_optimizer", None)
        if optimizer and optimizer.lives_on(home.backend) and optimizer.holds(self.coefs_, self.intercepts_):
            return optimizer.step
        return None

    def __getstate__(self) -> dict[str, Any]:
        # Backends, steps and their scratch space stay in this process; the optimizer's numbers go along.
        state: dict[str, Any] = super().__getstate__()  # type: ignore[misc, assignment]
        state = {k: v for k, v in state.items() if k not in ("_home", "_moved")}
        if "_optimizer" in state:
            state["_optimizer"] = state["_optimizer"].twin()
        return state


def is_host(home: Choice) -> bool:
    """Whether what is computed there are NumPy arrays."""
    return library_of(home.backend.asarray(0.0)) == "numpy"


def on_host(array: Any) -> bool:
    """Whether this is NumPy's, or no array of any library (a list, a frame, a sparse matrix)."""
    return library_of(array) in ("", "numpy")


def to_host(array: Any) -> Any:
    """The array as NumPy's; what is on the host already is returned as it is."""
    return array if on_host(array) else by_arrays(array).backend.to_numpy(array)


def like_input(result: Array, X: Any, home: Choice) -> Array:
    """A result as the caller expects it: NumPy's for host data, the home's own otherwise."""
    return numpy.asarray(home.backend.to_numpy(result)) if on_host(X) else result
