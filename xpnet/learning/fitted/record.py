"""The last fit of an estimator: attributes of one record, which ``fit`` replaces."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, overload

from sklearn.exceptions import NotFittedError

from xpnet.models.saving import Saved

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Value = TypeVar("Value")
"""The type of an attribute."""
Record = TypeVar("Record")
"""The type of the record of a fit."""
Frozen = TypeVar("Frozen", bound="DataclassInstance")
"""The type of a frozen dataclass."""


class HoldsFit(Saved, Generic[Record]):
    """An estimator that holds the record of its last fit."""

    _fitted: Record | None = None
    """The record, frozen; None before the first fit."""

    _assigned: Mapping[str, object] = MappingProxyType({})
    """Fitted attributes that the user has set before a fit, by name."""

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted is not None

    def _record_of_fit(self) -> Record:
        """Return the record of the last fit. Raises NotFittedError before the first."""
        if self._fitted is None:
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with "
                "appropriate arguments before using this estimator."
            )
        return self._fitted

    def _record_showing(self, attribute: str) -> Record:
        """Return the record of the last fit, of which an attribute shows a part.

        Raises AttributeError before the first fit, for ``hasattr``.
        """
        if self._fitted is None:
            raise AttributeError(
                f"This {type(self).__name__} has no {attribute} before it is fitted."
            )
        return self._fitted

    def _hold(self, fitted: Record) -> None:
        """Hold the record of a fit, in place of attributes that the user has set before it."""
        self._fitted = fitted
        vars(self).pop("_assigned", None)


def in_place(fitted: Record, path: str, value: object) -> Record:
    """Set a part of an object that a record holds, and return the record."""
    owner, _, name = path.rpartition(".")
    setattr(attrgetter(owner)(fitted), name, value)
    return fitted


def in_copy(fitted: Frozen, path: str, value: object) -> Frozen:
    """Return the record with another part of one of the frozen records that it holds."""
    owner, _, name = path.rpartition(".")
    return replace(fitted, **{owner: replace(getattr(fitted, owner), **{name: value})})


class FittedAttribute(Generic[Value]):
    """An attribute that shows a part of the record of the last fit; before it, what the user has
    set.

    path : where the record has the part; AttributeError where it has none
    write : called with the record, the path and another value, returns the record with it; None for
        a part that follows from others
    """

    def __init__(self, path: str, write: Callable[..., object] | None = None, *, doc: str) -> None:
        self.path = path
        self.read = attrgetter(path)
        self.write: Callable[..., object] | None = write
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, estimator: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, estimator: HoldsFit[Record], owner: type | None = None) -> Value: ...
    def __get__(self, estimator: HoldsFit[Record] | None, owner: type | None = None) -> object:
        if estimator is None:
            return self
        try:
            if estimator._fitted is None:
                return estimator._assigned[self.name]
            return self.read(estimator._fitted)
        except (AttributeError, KeyError):
            raise AttributeError(
                f"{type(estimator).__name__!r} object has no attribute {self.name!r}"
            ) from None

    def __set__(self, estimator: HoldsFit[Record], value: Value) -> None:
        if estimator._fitted is None:
            estimator._assigned = {**estimator._assigned, self.name: value}
        elif self.write is None:
            raise AttributeError(
                f"`{self.name}` of a fitted {type(estimator).__name__} follows from its network "
                "and cannot be set."
            )
        else:
            estimator._fitted = self.write(estimator._fitted, self.path, value)  # type: ignore[assignment]
