"""Estimators of tables as files: their networks, what ``fit`` found, and how their encoder encodes each column."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy

import xpnet
from xpnet.backend import Backend, NetworkSpec
from xpnet.errors import InputError
from xpnet.modelfile.container import Description
from xpnet.modelfile.estimators import constructed, kept_parameters, with_parameters
from xpnet.modelfile.networks import Exported, take_parameters
from xpnet.modelfile.values import from_json, to_json, typed
from xpnet.models import Network
from xpnet.tabular.encodings import (
    MAX_FINITE,
    PARTS,
    PERIODS,
    CategoryEncoding,
    Encoding,
    NumberEncoding,
)
from xpnet.tabular.fitted import FittedClassifier, FittedRegressor, FittedTable

_FACTS: dict[str, dict[str, type]] = {
    "TabularClassifier": {
        "best_epochs_": list,
        "n_iter_": int,
        "classes_": numpy.ndarray,
        "temperature_": float,
    },
    "TabularRegressor": {"best_epochs_": list, "n_iter_": int, "_flat": bool},
}
"""``fit`` sets these attributes of these types, besides tensors and the encoder."""

_TENSORS = "target", "residuals", "residual_weights"
"""Attributes of a regressor that are tensors; their names end in an underscore."""


def parts(estimator: Any) -> tuple[NetworkSpec, dict[str, Any], dict[str, Any]]:
    """Return what a file holds of a fitted estimator: the spec of its networks, settings, and tensors by name.

    Raises NotFittedError before ``fit``, InputError for parameters, labels or an encoder that it cannot hold.
    """
    fitted = estimator.get_fitted_state()
    exported = _exported(fitted)
    facts = {name: getattr(fitted, name.strip("_")) for name in _FACTS[type(estimator).__name__]}
    encoder, tensors = _described(exported.encoder)
    for k, values in enumerate(exported.networks):
        tensors |= {f"{k}/{name}": array for name, array in values.items()}
    of_targets = {name: getattr(fitted, name, None) for name in _TENSORS}
    tensors |= {name: array for name, array in of_targets.items() if array is not None}
    params = to_json(kept_parameters(estimator))
    return exported.spec, {"params": params, "fitted": to_json(facts), "encoder": encoder}, tensors


def to_export(estimator: Any) -> Exported:
    """Return what other runtimes compute of a fitted estimator.

    Raises NotFittedError before ``fit``, InputError for an encoder of another kind.
    """
    return _exported(estimator.get_fitted_state())


def _exported(fitted: FittedTable) -> Exported:
    """Return what other runtimes compute of a fit. Raises InputError for an encoder of another kind."""
    if type(fitted.encoder) is not xpnet.TableEncoder:
        kind = type(fitted.encoder).__name__
        raise InputError(
            f"Files hold a TableEncoder; received a {kind}. Save the estimator with skops.io.dump."
        )
    return Exported(
        replace(fitted.spec, seed=0),
        [network.values() for network in fitted.networks],
        getattr(fitted, "classes", None),
        fitted.encoder,
        getattr(fitted, "target", None),
        getattr(fitted, "temperature", 1.0),
    )


def open_file(
    description: Description, tensors: dict[str, Any], backend: str | Backend | None
) -> Any:
    """Return the estimator of a file, whose tensors are taken out of ``tensors``.

    Raises ValueError, KeyError or TypeError where they do not make an estimator, BackendError for a backend that is not
    usable.
    """
    spec = description.network
    estimator, facts = constructed(description)
    if {name: type(value) for name, value in facts.items()} != _FACTS[description.kind]:
        raise ValueError("its fitted attributes are not those that fit finds")
    epochs = facts["best_epochs_"]
    if not epochs or not all(type(epoch) is int for epoch in epochs):
        raise ValueError("it has no epoch for each of its networks")
    fields = {name.strip("_"): value for name, value in facts.items()}
    if description.kind == "TabularRegressor":
        fields |= _take_targets(estimator, spec, tensors, flat=facts["_flat"])
    elif spec.loss != "softmax_cross_entropy" or len(fields["classes"]) != spec.widths[-1]:
        raise ValueError("its classes are not those of its networks")
    elif not 0.01 < fields["temperature"] < 100:
        raise ValueError("its temperature is none that fit finds")
    encoder = _encoder_of(description.settings["encoder"], tensors)
    if sum(len(encoding.labels) for encoding in encoder.encodings_) != spec.widths[0]:
        raise ValueError("its encoder has other outputs than its networks have inputs")
    every = [take_parameters(spec, tensors, f"{k}/") for k in range(len(epochs))]
    rate = estimator.learning_rate_init
    networks = [Network(spec, values, rate, backend=backend, dtype=spec.dtype) for values in every]
    kind = FittedRegressor if description.kind == "TabularRegressor" else FittedClassifier
    estimator.backend = backend
    return estimator.set_fitted_state(kind(encoder=encoder, networks=networks, **fields))


def _take_targets(
    estimator: Any, spec: NetworkSpec, tensors: dict[str, Any], *, flat: bool
) -> dict[str, Any]:
    """Return what ``fit`` learned of a regressor's targets, by the names of the record's fields."""
    out, rows = spec.widths[-1], len(tensors["residuals"])
    if spec.loss_numbers != estimator._loss_numbers() or (
        flat and out != max(1, len(spec.loss_numbers))
    ):
        raise ValueError(
            "its networks were trained on another loss or other targets than its parameters say"
        )
    arrays = {}
    for name, shape in zip(_TENSORS, ((4, out), (rows, out), (rows,)), strict=True):
        array = tensors.pop(name, None)
        if array is not None or name != "residual_weights":
            _check(array, "float64", shape)
        arrays[name] = array
    return arrays


def _check(array: Any, dtype: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array has this dtype and shape, and is finite."""
    if array.dtype != dtype or array.shape != shape or not numpy.isfinite(array).all():
        raise ValueError(f"a tensor is not {dtype} of shape {shape}, and finite")


def _described(encoder: Any) -> tuple[dict[str, Any], dict[str, numpy.ndarray]]:
    """Return a fitted encoder as JSON values, and arrays by name."""
    entries: list[dict[str, Any]] = []
    arrays: dict[str, numpy.ndarray] = {}
    for k, encoding in enumerate(encoder.encodings_):
        fields = dict(vars(encoding))
        if isinstance(encoding, CategoryEncoding):
            values = fields.pop("values")
            fields["text"] = numpy.frombuffer("".join(values).encode(), numpy.uint8)
            fields["lengths"] = numpy.array([len(value) for value in values], numpy.uint32)
        own = {name: value for name, value in fields.items() if isinstance(value, numpy.ndarray)}
        entries.append({name: value for name, value in fields.items() if name not in own})
        arrays |= {f"encoder/{k}/{name}": array for name, array in own.items()}
    names = encoder.feature_names_in_.tolist() if hasattr(encoder, "feature_names_in_") else []
    columns = {
        "columns": encoder.n_features_in_,
        "names": names,
        "labels": list(encoder._labels),
        "left_out": dict(encoder.left_out_),
    }
    params = kept_parameters(encoder) | {"random_state": None}
    return {"params": to_json(params), **columns, "encodings": entries}, arrays


def _encoder_of(described: dict[str, Any], tensors: dict[str, Any]) -> xpnet.TableEncoder:
    """Return the encoder that was described, in time linear in it.

    Raises ValueError, KeyError or TypeError for what ``_described`` cannot have made.
    """
    encoder = with_parameters("TableEncoder", from_json(described["params"]))
    columns, names = typed(described["columns"], int), typed(described["names"], tuple[str, ...])
    left_out, entries = described["left_out"], enumerate(described["encodings"])
    encoder.encodings_ = [
        _encoding_of(entry, tensors, f"encoder/{k}/", columns) for k, entry in entries
    ]
    ways = {
        (each.column, type(each), bool(getattr(each, "part", ""))) for each in encoder.encodings_
    }
    right = len({column for column, *_ in ways}) == len(ways) == columns - len(left_out)
    labels = typed(described.get("labels", []), tuple[str, ...])
    for own_names in (names, labels):
        right = right and (not own_names or len(set(own_names)) == len(own_names) == columns)
    if not right or not all(type(reason) is str for reason in left_out.values()):
        raise ValueError(
            "each column has one name, and is encoded in one way or left out for a reason"
        )
    encoder.n_features_in_, encoder.left_out_ = columns, left_out
    encoder._labels = labels
    if names:
        encoder.feature_names_in_ = numpy.array(names, dtype=object)
    return encoder


def _encoding_of(
    entry: dict[str, Any], tensors: dict[str, Any], prefix: str, columns: int
) -> Encoding:
    """Return the encoding of one of so many columns, whose tensors are taken out of ``tensors``."""
    if not 0 <= entry["column"] < columns:
        raise ValueError(f"a column is one of {columns}")
    if "fill" in entry:
        edges = tensors.pop(f"{prefix}edges")
        _check(edges, "float64", (len(edges),))
        number: NumberEncoding = typed({**entry, "edges": edges}, NumberEncoding)
        right = number.part in PERIODS or (number.part in ("", *PARTS) and not number.cycle)
        if (
            not right
            or len(edges) in (1, 2)
            or (numpy.abs(edges) > MAX_FINITE).any()
            or (numpy.diff(edges) <= 0).any()
        ):
            raise ValueError(
                "a number has a known part, and edges that increase, three or more or none"
            )
        return number
    # Values lie one behind the other as UTF-8; lengths count the characters of each.
    text, lengths, details = (
        tensors.pop(f"{prefix}{name}") for name in ("text", "lengths", "details")
    )
    _check(text, "uint8", (len(text),))
    _check(lengths, "uint32", (len(lengths),))
    letters, ends = text.tobytes().decode(), [0, *numpy.cumsum(lengths, dtype=numpy.int64).tolist()]
    if len(letters) != ends[-1]:
        raise ValueError("text is as long as its lengths together")
    values = [letters[start:end] for start, end in pairwise(ends)]
    category: CategoryEncoding = typed(
        {**entry, "values": values, "details": details}, CategoryEncoding
    )
    _check(details, "float32", (len(values), len(category.detail_labels)))
    if len(set(values)) < len(values) or not 0 <= category.frequent <= len(values):
        raise ValueError("each value is listed once, and no more are frequent")
    return category
