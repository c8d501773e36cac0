"""Parameters of an estimator's constructor: which values each may have, and their checks."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from inspect import cleandoc, signature
from math import inf
from numbers import Integral, Real
from operator import index
from typing import TYPE_CHECKING, Any, TypeVar

import numpy

from xpnet.errors import InputError, did_you_mean
from xpnet.typing import ArrayLike

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Default = TypeVar("Default")
"""The type of a parameter's default."""


@dataclass(frozen=True)
class Interval:
    """An interval of numbers of a kind, ``Integral`` or ``Real``.

    closed : whether it has its bounds: ``"left"``, ``"both"`` or ``"neither"``
    """

    kind: type[Any]
    low: float
    high: float = inf
    closed: str = "left"

    def __contains__(self, value: object) -> bool:
        ends = {"left": (self.low,), "both": (self.low, self.high)}.get(self.closed, ())
        return isinstance(value, self.kind) and bool(self.low < value < self.high or value in ends)

    def __str__(self) -> str:
        kind = "an int" if self.kind is Integral else "a float"
        left = "(" if self.closed == "neither" else "["
        right = "]" if self.closed == "both" else ")"
        return f"{kind} in the range {left}{self.low}, {self.high}{right}"


ARRAY_LIKE = "an array-like"
"""Stands for what has elements; what these may be is checked where they are used."""

FLAG = bool, numpy.bool_
COUNT = Interval(Integral, 1)
NEGATIVE_COUNT = Interval(Integral, -inf, 0, closed="neither")
FRACTION = Interval(Real, 0, 1)
POSITIVE = Interval(Real, 0, closed="neither")
NOT_NEGATIVE = Interval(Real, 0)
RANDOM_STATE = Interval(Integral, 0, 2**32), numpy.random.RandomState, None


def allowing(default: Default, *allowed: object) -> Default:
    """Return the default of a parameter, and what it may be: an interval, a set, a type,
    ``ARRAY_LIKE`` or None.
    """
    parameter: Default = field(default=default, metadata={"allowed": allowed})
    return parameter


def check_parameters(estimator: "DataclassInstance") -> None:
    """Raise InputError for the first parameter that is nothing of what `allowing` lists for it.

    Parameters without it are checked where they are used.
    """
    for parameter in fields(estimator):
        value = getattr(estimator, parameter.name)
        allowed = parameter.metadata.get("allowed")
        if allowed is None or value is parameter.default:  # as most are
            continue
        if not any(_is_allowed(value, kind) for kind in allowed):
            sets = [kind for kind in allowed if isinstance(kind, set)]
            names = sorted(name for choices in sets for name in choices if isinstance(name, str))
            hint = did_you_mean(value, names)
            # With a suggestion, the types that are possible besides say nothing new.
            possible = _listed(names) if hint else " or ".join(map(_words, allowed))
            raise InputError(
                f"The {parameter.name!r} parameter of {type(estimator).__name__} must be "
                f"{possible}. Got {value!r} instead. {hint}".rstrip()
            )


def _is_allowed(value: object, allowed: Any) -> bool:
    """Return whether a value is in an interval or a set, or of a type, or an array-like."""
    if isinstance(allowed, Interval):
        return value in allowed
    if isinstance(allowed, set):
        return isinstance(value, (str, Real)) and value in allowed
    if allowed == ARRAY_LIKE:
        return hasattr(value, "__len__") and not isinstance(value, str)
    return value is None if allowed is None else isinstance(value, allowed)


def _listed(names: list[str]) -> str:
    """Return names as in a sentence: 'a', 'b' or 'c'."""
    *others, last = map(repr, names)
    return f"{', '.join(others)} or {last}" if others else last


def _words(allowed: object) -> str:
    """Describe the values that a parameter may have, for an error."""
    if isinstance(allowed, set):
        return f"one of {', '.join(map(repr, sorted(allowed)))}"
    return f"an instance of {allowed.__name__!r}" if isinstance(allowed, type) else str(allowed)


def check_together(X_val: object, y_val: object, weight: object) -> None:
    """Raise InputError for validation rows without targets, and for targets or weights without
    rows.
    """
    if X_val is None and y_val is None and weight is None:
        return
    for name, array in (("X_val", X_val), ("y_val", y_val)):
        if array is None:
            raise InputError(
                f"`X_val` and `y_val` must come together; got no {name}. Pass both, or neither."
            )


def hidden_sizes(sizes: Iterable[int] | int) -> tuple[int, ...]:
    """Return the widths of hidden layers, of one number or several. Raises InputError unless all
    are positive whole numbers.
    """
    widths = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
    try:
        widths = list(map(index, widths))
    except TypeError as error:
        raise InputError(
            f"`hidden_layer_sizes` must hold whole numbers; got {sizes!r}. Pass, for example, "
            "(100,)."
        ) from error
    if widths and min(widths) <= 0:
        raise InputError(
            f"hidden_layer_sizes must be > 0, got {widths}. Pass () for no hidden layer."
        )
    return tuple(widths)


Estimator = TypeVar("Estimator")


def with_documentation_of(**sources: type) -> Callable[[type[Estimator]], type[Estimator]]:
    """Decorate a class: put sections that two estimators share into the docstring of each.

    sources : by the name of a section, ``Parameters`` or ``Attributes``, the class in whose
        docstring it stands; it takes the place of ``<parameters of both estimators>`` or
        ``<attributes of both estimators>``; with another name, such as ``Loss``, the section
        ``Parameters`` takes that of ``<loss of both estimators>``
    """

    def document(estimator: type[Estimator]) -> type[Estimator]:
        """Put the sections into the docstring of an estimator."""
        text = cleandoc(estimator.__doc__ or "") + "\n"
        for name, source in sources.items():
            section = "Attributes" if name == "Attributes" else "Parameters"
            _, _, shared = cleandoc(source.__doc__ or "").partition(
                f"{section}\n{'-' * len(section)}\n"
            )
            shared, *_ = re.split(r"\n\n\w+\n-+\n", shared)
            text = text.replace(f"<{name.lower()} of both estimators>", shared)
        if estimator.__doc__:  # python -OO leaves docstrings out
            estimator.__doc__ = text
        # scikit-learn asks for it whenever it clones, and to find it takes longer than all the
        # rest.
        vars(estimator)["__init__"].__signature__ = signature(vars(estimator)["__init__"])
        return estimator

    return document


SECTIONS = ("", "Parameters", "Returns", "Raises", "Notes", "Examples")
"""Titles of the sections of a method's docstring, in numpydoc's order; the first has none."""

Method = TypeVar("Method", bound=Callable[..., object])


def documented_as(base: Callable[..., object]) -> Callable[[Method], Method]:
    """Decorate a method that overrides another: complete its docstring by that of the other.

    The docstring describes the parameters that the base lacks or describes in other words; all come
    in the order of the signature. Its notes follow those of the base. Other sections that it lacks
    are those of the base.
    """

    def document(method: Method) -> Method:
        """Complete the docstring of a method."""
        if not (method.__doc__ and base.__doc__):  # python -OO leaves docstrings out
            return method
        own, inherited = _sections_of(method.__doc__), _sections_of(base.__doc__)
        sections = inherited | own
        notes = [part["Notes"] for part in (inherited, own) if "Notes" in part]
        entries = _entries_of(inherited["Parameters"]) | _entries_of(own.get("Parameters", ""))
        names = signature(method).parameters
        sections["Parameters"] = "\n".join(entries[name] for name in names if name in entries)
        sections["Notes"] = "\n\n".join(notes)
        titles = [title for title in SECTIONS[1:] if sections.get(title)]
        texts = [f"{title}\n{'-' * len(title)}\n{sections[title]}" for title in titles]
        method.__doc__ = "\n\n".join([sections[""], *texts]) + "\n"
        return method

    return document


def _sections_of(docstring: str) -> dict[str, str]:
    """Return the sections of a docstring by their titles."""
    parts = ["", *re.split(r"\n\n(\w+)\n-+\n", cleandoc(docstring))]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _entries_of(section: str) -> dict[str, str]:
    """Return the entries of a section ``Parameters`` by the names of the parameters."""
    return {entry.partition(" :")[0]: entry for entry in re.split(r"\n(?=\S)", section)}


def monotonic_signs(
    constraints: Mapping[str, int] | ArrayLike | None, names: Sequence[object] | None, columns: int
) -> tuple[int, ...]:
    """Return 1, -1 or 0 for each column, as ``monotonic_cst`` says; () for no constraints.

    constraints : by name, or (columns,) numbers; names : of the columns, None where they have none

    Raises InputError for other values, unknown names and another number of columns.
    """
    if constraints is None:
        return ()
    if isinstance(constraints, Mapping):
        unknown = [name for name in constraints if names is None or name not in names]
        if unknown:
            hint = "X has no names; pass one number for each column."
            if names is not None:
                hint = did_you_mean(unknown[0], map(str, names)) or "Correct the name."
            raise InputError(f"`monotonic_cst` must name columns of X; got {unknown[0]!r}. {hint}")
        values = numpy.array([constraints.get(str(name), 0) for name in names or ()])
    else:
        values = numpy.asarray(constraints)
        if values.shape != (columns,):
            raise InputError(
                f"`monotonic_cst` must hold 1, -1 or 0 for each of {columns} columns; got shape "
                f"{values.shape}. Name the columns in a dict, or pass one number for each."
            )
    wrong = [value for value in values.tolist() if value not in (-1, 0, 1)]
    if wrong:
        raise InputError(
            f"`monotonic_cst` must hold 1 for a column with which predictions rise, -1 where they "
            f"fall, or 0; got {wrong[0]!r}. Correct it."
        )
    signs = tuple(int(value) for value in values)
    return signs if any(signs) else ()
