"""Estimators of tables as files: networks, fitted attributes, and the encoding of each column."""

from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy

import xpnet
from xpnet.backend import Backend, NetworkSpec
from xpnet.data.cells.forms import ColumnForm, category_form, checked_form
from xpnet.data.cells.gaps import GapValues
from xpnet.data.cells.numbers import TextCounts
from xpnet.errors import InputError
from xpnet.modelfile.container import Description
from xpnet.modelfile.estimators import constructed, kept_parameters, with_parameters
from xpnet.modelfile.networks import Exported, FileParts, take_parameters
from xpnet.modelfile.values import from_json, to_json, typed
from xpnet.models import Network
from xpnet.tabular.base import Tabular
from xpnet.tabular.category_encoding import CategoryEncoding
from xpnet.tabular.encodings import Encoding
from xpnet.tabular.fitted import FittedClassifier, FittedRegressor, FittedTable
from xpnet.tabular.importance import Importances
from xpnet.tabular.level_encoding import LevelEncoding
from xpnet.tabular.number_encoding import (
    MAX_FINITE,
    PARTS,
    PERIODS,
    SECONDS_PER_DAY,
    NumberEncoding,
)
from xpnet.tabular.recipe import learning_rate_of
from xpnet.tabular.text_encoding import HASHES, TextEncoding

_FACTS: dict[str, dict[str, type]] = {
    "TabularClassifier": {
        "best_epochs_": list,
        "n_iter_": int,
        "classes_": numpy.ndarray,
        "temperature_": float,
    },
    "TabularRegressor": {"best_epochs_": list, "n_iter_": int, "_flat": bool},
}
"""Attributes that ``fit`` sets, and their types; tensors and the encoder are not among them."""

_TRAINING_FACTS: dict[str, type] = {"_rows": int, "_validation_loss": float}
"""Optional facts about the training, and their types: older files lack them."""

_TEXT_TENSORS = "frequencies", "components"
"""Names of the tensors of an encoding of free text."""

_LEVEL_TENSORS = "levels", "details"
"""Names of the tensors of an encoding of levels."""

_FORM_FIELDS = "clock", "date_format"
"""Fields of encodings of numbers in files of 0.1.0, which belong to the form of the column."""

_TENSORS = "target", "residuals", "residual_weights", "residual_groups"
"""Attributes of a regressor that are tensors; their names end in an underscore."""


def parts(estimator: Tabular) -> FileParts:
    """Return the content of a file of a fitted estimator.

    Raises NotFittedError before ``fit``, InputError for parameters, labels or an encoder that a
    file cannot hold.
    """
    fitted = estimator.get_fitted_state()
    exported = _exported(fitted)
    facts = {name: getattr(fitted, name.strip("_")) for name in _FACTS[type(estimator).__name__]}
    training_facts = {name: getattr(fitted, name.strip("_")) for name in _TRAINING_FACTS}
    facts |= {name: value for name, value in training_facts.items() if value is not None}
    encoder = _described(exported.encoder)
    tensors = dict(encoder.tensors)
    for k, values in enumerate(exported.networks):
        tensors |= {f"{k}/{name}": array for name, array in values.items()}
    target_tensors = {name: getattr(fitted, name, None) for name in _TENSORS}
    tensors |= {name: array for name, array in target_tensors.items() if array is not None}
    if fitted.importances is not None and fitted.importances.computed is not None:
        tensors["importances"] = fitted.importances.computed
    settings = {
        "params": to_json(kept_parameters(estimator)),
        "fitted": to_json(facts),
        "encoder": encoder.settings,
    }
    return FileParts(exported.spec, settings, tensors)


def to_export(estimator: Tabular) -> Exported:
    """Return a fitted estimator as other runtimes compute it.

    Raises NotFittedError before ``fit``, InputError for an encoder of another kind, and for free
    text.
    """
    exported = _exported(estimator.get_fitted_state())
    if any(isinstance(encoding, TextEncoding) for encoding in exported.encoder.encodings_):
        raise InputError(
            "A model in C or ONNX must have no free text; got text_features='on'. Save it by "
            "`save`, or train it with text_features='off'."
        )
    return exported


def _exported(fitted: FittedTable) -> Exported:
    """Return a fit as other runtimes compute it. Raises InputError for another encoder."""
    if type(fitted.encoder) is not xpnet.TableEncoder:
        kind = type(fitted.encoder).__name__
        raise InputError(
            f"The encoder in a file must be a TableEncoder; got a {kind}. "
            "Save the estimator with skops.io.dump."
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
    description: Description, tensors: dict[str, numpy.ndarray], backend: str | Backend | None
) -> Tabular:
    """Return the estimator of a file, and remove its tensors from ``tensors``.

    Raises ValueError, KeyError or TypeError for content that does not make an estimator,
    BackendError for a backend that is not usable.
    """
    spec = description.network
    estimator, facts = constructed(description)
    types = {name: type(value) for name, value in facts.items()}
    optional = {name: kind for name, kind in _TRAINING_FACTS.items() if name in types}
    if types != _FACTS[description.kind] | optional:
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
        raise ValueError("temperature must be in (0.01, 100)")
    encoder = _encoder_of(description.settings["encoder"], tensors)
    if sum(len(encoding.labels) for encoding in encoder.encodings_) != spec.widths[0]:
        raise ValueError("its encoder has other outputs than its networks have inputs")
    networks = [
        Network(
            spec,
            take_parameters(spec, tensors, f"{k}/"),
            learning_rate_of(estimator),
            backend=backend,
            dtype=spec.dtype,
        )
        for k in range(len(epochs))
    ]
    fields["importances"] = _take_importances(tensors, encoder.n_features_in_)
    kind = FittedRegressor if description.kind == "TabularRegressor" else FittedClassifier
    estimator.backend = backend
    return estimator.set_fitted_state(kind(encoder=encoder, networks=networks, **fields))


def _take_targets(
    estimator: xpnet.TabularRegressor,
    spec: NetworkSpec,
    tensors: dict[str, numpy.ndarray],
    *,
    flat: bool,
) -> dict[str, numpy.ndarray]:
    """Return the facts about a regressor's targets, by the names of the record's fields."""
    outputs = spec.widths[-1]
    rows = len(tensors["residuals"])
    has_outputs = not flat or outputs == max(1, len(spec.loss_numbers))
    if spec.loss_numbers != estimator._loss_numbers() or not has_outputs:
        raise ValueError(
            "its networks were trained on another loss or other targets than its parameters say"
        )
    arrays: dict[str, numpy.ndarray] = {}
    shapes = ((4, outputs), (rows, outputs), (rows,), (rows,))
    for name, shape in zip(_TENSORS, shapes, strict=True):
        array: Any = tensors.pop(name, None)
        if array is not None or name not in ("residual_weights", "residual_groups"):
            _check(array, "int64" if name == "residual_groups" else "float64", shape)
        arrays[name] = array
    return arrays


def _take_importances(tensors: dict[str, numpy.ndarray], columns: int) -> Importances | None:
    """Return the importances of the columns; None in files of fits that did not have them."""
    values = tensors.pop("importances", None)
    if values is None:
        return None
    _check(values, "float64", (columns,))
    if (values < 0).any():
        raise ValueError("an importance is negative")
    return Importances(values=values)


def _check(array: numpy.ndarray, dtype: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array has this dtype and shape, and is finite."""
    if array.dtype != dtype or array.shape != shape or not numpy.isfinite(array).all():
        raise ValueError(f"a tensor is not {dtype} of shape {shape}, and finite")


class _DescribedEncoder(NamedTuple):
    """An encoder in a file. settings : JSON values; tensors : arrays by name"""

    settings: dict[str, object]
    tensors: dict[str, numpy.ndarray]


def _described(encoder: xpnet.TableEncoder) -> _DescribedEncoder:
    """Return a fitted encoder as a file holds it."""
    entries: list[dict[str, object]] = []
    arrays: dict[str, numpy.ndarray] = {}
    for k, encoding in enumerate(encoder.encodings_):
        fields = dict(vars(encoding))
        if isinstance(encoding, CategoryEncoding):
            values = fields.pop("values")
            fields["text"] = numpy.frombuffer("".join(values).encode(), numpy.uint8)
            fields["lengths"] = numpy.array([len(value) for value in values], numpy.uint32)
        if isinstance(encoding, NumberEncoding):
            difference = fields.pop("difference")
            fields |= {} if difference is None else {"difference": vars(difference)}
        tensors = {
            name: value for name, value in fields.items() if isinstance(value, numpy.ndarray)
        }
        entries.append({name: value for name, value in fields.items() if name not in tensors})
        arrays |= {f"encoder/{k}/{name}": array for name, array in tensors.items()}
    names = encoder.feature_names_in_.tolist() if hasattr(encoder, "feature_names_in_") else []
    settings = {
        "params": to_json(kept_parameters(encoder) | {"random_state": None}),
        "columns": encoder.n_features_in_,
        "names": names,
        "labels": list(encoder._labels),
        "left_out": dict(encoder.left_out_),
        "notes": dict(encoder.notes_),
        "added": dict(encoder.added_),
        "encodings": entries,
        "forms": {str(column): _described_form(form) for column, form in encoder.forms_.items()},
    }
    return _DescribedEncoder(settings, arrays)


def _described_form(form: ColumnForm) -> dict[str, object]:
    """Return the form of a column as JSON values, without what every column has."""
    plain = asdict(ColumnForm(form.kind))
    fields = {name: value for name, value in asdict(form).items() if value != plain[name]}
    return {"kind": form.kind, **fields}


def _forms_of(
    described: dict[str, object] | None, encodings: list[Encoding], entries: list[dict[str, object]]
) -> dict[int, ColumnForm]:
    """Return the forms of the columns that an encoder of a file uses, by their indices.

    described : None in files of 0.1.0, which hold the forms of dates in the entries of encodings

    Raises ValueError for impossible forms, and unless each column has one.
    """
    columns = {encoding.column for encoding in encodings}
    if described is None:
        known = {
            encoding.column: _form_of_entry(encoding, entry)
            for encoding, entry in reversed(list(zip(encodings, entries, strict=True)))
        }
        return {column: form for column, form in known.items() if form is not None}
    forms = {
        int(column): checked_form(typed(form, ColumnForm)) for column, form in described.items()
    }
    if forms.keys() != columns or len(forms) != len(described):
        raise ValueError("each column must have one form")
    return forms


def _form_of_entry(encoding: Encoding, entry: dict[str, object]) -> ColumnForm | None:
    """Return the form of a column from an entry of a file of 0.1.0, None for numbers.

    These files do not hold formats of numbers: each file that is predicted shows its own.
    """
    if isinstance(encoding, CategoryEncoding):
        return category_form([TextCounts(encoding.values, numpy.empty(0))], GapValues())
    if isinstance(encoding, TextEncoding):
        return ColumnForm("category")
    if not isinstance(encoding, NumberEncoding) or not encoding.part:
        return None
    fields = {name: entry[name] for name in _FORM_FIELDS if name in entry}
    is_time = encoding.low >= 0 and encoding.high < SECONDS_PER_DAY and encoding.part == "trend"
    return checked_form(typed({"kind": "time" if is_time else "date", **fields}, ColumnForm))


def _encoder_of(described: dict[str, Any], tensors: dict[str, numpy.ndarray]) -> xpnet.TableEncoder:
    """Return an encoder from its settings in a file, in time linear in their size.

    Raises ValueError, KeyError or TypeError for settings that ``_described`` does not write.
    """
    encoder = with_parameters("TableEncoder", from_json(described["params"]))
    columns = typed(described["columns"], int)
    names = typed(described["names"], tuple[str, ...])
    labels = typed(described.get("labels", []), tuple[str, ...])  # files of 0.1.0 have none
    left_out = described["left_out"]
    notes = described.get("notes", {})  # the same
    added = described.get("added", {})  # the same
    entries = described["encodings"]
    encoder.encodings_ = [
        _encoding_of(entry, tensors, f"encoder/{k}/", columns) for k, entry in enumerate(entries)
    ]
    encoder.forms_ = _forms_of(described.get("forms"), encoder.encodings_, entries)
    kinds = {
        (encoding.column, type(encoding), bool(getattr(encoding, "part", "")))
        for encoding in encoder.encodings_
        if not isinstance(encoding, LevelEncoding)
    }
    encoded_columns = {column for column, *_ in kinds}
    is_valid = len(encoded_columns) == len(kinds) == columns - len(left_out)
    with_levels = {
        (encoding.column, NumberEncoding, False)
        for encoding in encoder.encodings_
        if isinstance(encoding, LevelEncoding)
    }
    subtracted = {
        (encoding.difference.minus, NumberEncoding, bool(encoding.part))
        for encoding in encoder.encodings_
        if isinstance(encoding, NumberEncoding) and encoding.difference is not None
    }
    is_valid = is_valid and with_levels <= kinds and subtracted <= kinds
    for texts in (names, labels):
        is_valid = is_valid and (not texts or len(set(texts)) == len(texts) == columns)
    sentences = [*left_out.values(), *notes.values(), *added.values()]
    if not is_valid or not all(type(sentence) is str for sentence in sentences):
        raise ValueError(
            "each column must have one name, and be encoded in one way or left out for a reason"
        )
    encoder.n_features_in_ = columns
    encoder.left_out_ = left_out
    encoder.notes_ = notes
    encoder.added_ = added
    encoder._labels = labels
    if names:
        encoder.feature_names_in_ = numpy.array(names, dtype=object)
    return encoder


def _encoding_of(
    entry: dict[str, Any], tensors: dict[str, numpy.ndarray], prefix: str, columns: int
) -> Encoding:
    """Return an encoding, and remove its tensors from ``tensors``.

    prefix : of the names of its tensors; columns : number of columns of the table
    """
    if not 0 <= entry["column"] < columns:
        raise ValueError(f"a column must be one of {columns}")
    if "fill" in entry:
        return _number_of(entry, tensors.pop(f"{prefix}edges"))
    if f"{prefix}components" in tensors:
        return _text_of(entry, *(tensors.pop(f"{prefix}{name}") for name in _TEXT_TENSORS))
    if f"{prefix}levels" in tensors:
        return _levels_of(entry, *(tensors.pop(f"{prefix}{name}") for name in _LEVEL_TENSORS))
    names = ("text", "lengths", "details")
    return _category_of(entry, *(tensors.pop(f"{prefix}{name}") for name in names))


def _number_of(entry: dict[str, object], edges: numpy.ndarray) -> NumberEncoding:
    """Return the encoding of a number. Raises ValueError for impossible values."""
    _check(edges, "float64", (len(edges),))
    fields = {name: value for name, value in entry.items() if name not in _FORM_FIELDS}
    number: NumberEncoding = typed({**fields, "edges": edges}, NumberEncoding)
    is_part = number.part in PERIODS or (number.part in ("", *PARTS) and not number.cycle)
    is_finite = not (numpy.abs(edges) > MAX_FINITE).any()
    is_increasing = not (numpy.diff(edges) <= 0).any()
    if not (is_part and is_finite and is_increasing) or len(edges) in (1, 2):
        raise ValueError(
            "a number must have a known part, and edges that increase, three or more or none"
        )
    return number


def _text_of(
    entry: dict[str, object], frequencies: numpy.ndarray, components: numpy.ndarray
) -> TextEncoding:
    """Return the encoding of free text. Raises ValueError for impossible values."""
    _check(frequencies, "float64", (HASHES,))
    outputs = components.shape[1] if components.ndim == 2 else 0
    _check(components, "float32", (HASHES, outputs))
    arrays = {"frequencies": frequencies, "components": components}
    text: TextEncoding = typed({**entry, **arrays}, TextEncoding)
    return text


def _levels_of(
    entry: dict[str, object], levels: numpy.ndarray, details: numpy.ndarray
) -> LevelEncoding:
    """Return the encoding of levels. Raises ValueError for impossible values."""
    _check(levels, "float64", (len(levels),))
    encoding: LevelEncoding = typed({**entry, "levels": levels, "details": details}, LevelEncoding)
    _check(details, "float32", (len(levels), len(encoding.detail_labels)))
    if not len(levels) or not numpy.isfinite(levels).all() or (numpy.diff(levels) <= 0).any():
        raise ValueError("levels must be one or more finite numbers that increase")
    return encoding


def _category_of(
    entry: dict[str, object], text: numpy.ndarray, lengths: numpy.ndarray, details: numpy.ndarray
) -> CategoryEncoding:
    """Return the encoding of a category. Raises ValueError for impossible values.

    text : the values one after the other in UTF-8; lengths : of the values in characters
    """
    _check(text, "uint8", (len(text),))
    _check(lengths, "uint32", (len(lengths),))
    letters = text.tobytes().decode()
    ends = [0, *numpy.cumsum(lengths, dtype=numpy.int64).tolist()]
    if len(letters) != ends[-1]:
        raise ValueError("text must be as long as its lengths together")
    values = [letters[start:end] for start, end in pairwise(ends)]
    category: CategoryEncoding = typed(
        {**entry, "values": values, "details": details}, CategoryEncoding
    )
    _check(details, "float32", (len(values), len(category.detail_labels)))
    if len(set(values)) < len(values) or not 0 <= category.frequent <= len(values):
        raise ValueError("values must be different, and frequent must be at most len(values)")
    return category
