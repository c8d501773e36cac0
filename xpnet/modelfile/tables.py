"""Estimators of tables as files: networks, fitted attributes, and the encoding of each column."""

from dataclasses import asdict, replace
from functools import cache
from typing import Any, NamedTuple

import numpy

import xpnet
from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import CLASS_LOSSES
from xpnet.data.cells.forms import ColumnForm, category_form, checked_form
from xpnet.data.cells.gaps import GapValues
from xpnet.data.cells.numbers import TextCounts
from xpnet.errors import InputError
from xpnet.modelfile.container import Description
from xpnet.modelfile.encodings import opened_encodings, stored_encodings
from xpnet.modelfile.estimators import constructed, kept_parameters, with_parameters
from xpnet.modelfile.networks import Exported, FileParts, take_parameters
from xpnet.modelfile.values import from_json, to_json, typed
from xpnet.models import Network
from xpnet.tabular.base import Tabular
from xpnet.tabular.encodings.encoding import ColumnUse, Encoding, check_array
from xpnet.tabular.encodings.number import SECONDS_PER_DAY
from xpnet.tabular.fitted import FittedClassifier, FittedRegressor, FittedTable
from xpnet.tabular.importance import Importances, Shares

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

_OPTIONAL_FACTS: dict[str, type] = {
    "_rows": int,
    "_validation_loss": float,
    "threshold_": float,
    "_predicts_rates": bool,
    "_has_offsets": bool,
}
"""Optional facts, and their types: older files lack them."""

_FORM_FIELDS = "clock", "date_format"
"""Fields of the form of a column, which files of 0.1.0 hold in the encodings of numbers."""

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
    optional = {name: getattr(fitted, name.strip("_"), None) for name in _OPTIONAL_FACTS}
    facts |= {
        name: value for name, value in optional.items() if value is not None and value is not False
    }
    encoder = _described(exported.encoder)
    tensors = dict(encoder.tensors)
    for k, values in enumerate(exported.networks):
        tensors |= {f"{k}/{name}": array for name, array in values.items()}
    target_tensors = {name: getattr(fitted, name, None) for name in _TENSORS}
    tensors |= {name: array for name, array in target_tensors.items() if array is not None}
    if fitted.importances is not None and fitted.importances.computed is not None:
        importances = fitted.importances.computed
        tensors["importances"] = importances.values
        if importances.errors is not None:
            tensors["importances_std"] = importances.errors
    settings = {
        "params": to_json(kept_parameters(estimator)),
        "fitted": to_json(facts),
        "encoder": encoder.settings,
    }
    return FileParts(exported.spec, settings, tensors)


def to_export(estimator: Tabular) -> Exported:
    """Return a fitted estimator as other runtimes compute it.

    Raises NotFittedError before ``fit``, InputError for an encoder of another kind, and for
    encodings that have no form in other runtimes.
    """
    exported = _exported(estimator.get_fitted_state())
    for encoding in exported.encoder.encodings_:
        if encoding.why_not_exported:
            raise InputError(encoding.why_not_exported)
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
        getattr(fitted, "rule", None),
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
    optional = {name: kind for name, kind in _OPTIONAL_FACTS.items() if name in types}
    if types != _FACTS[description.kind] | optional:
        raise ValueError("its fitted attributes are not those that fit finds")
    epochs = facts["best_epochs_"]
    if not epochs or not all(type(epoch) is int for epoch in epochs):
        raise ValueError("it has no epoch for each of its networks")
    fields = {name.strip("_"): value for name, value in facts.items()}
    if description.kind == "TabularRegressor":
        fields |= _take_targets(estimator, spec, tensors, flat=facts["_flat"])
    elif spec.loss not in CLASS_LOSSES or len(fields["classes"]) != spec.widths[-1]:
        raise ValueError("its classes are not those of its networks")
    elif not 0.01 < fields["temperature"] < 100:
        raise ValueError("temperature must be in (0.01, 100)")
    elif "threshold" in fields and not (0 < fields["threshold"] < 1 and spec.widths[-1] == 2):
        raise ValueError("threshold must be in (0, 1), and go with two classes")
    if spec.loss == "ordered_cross_entropy":
        fields["choice"] = estimator.ordered_prediction
    encoder = encoder_of(description.settings["encoder"], tensors)
    if sum(len(encoding.labels) for encoding in encoder.encodings_) != spec.widths[0]:
        raise ValueError("its encoder has other outputs than its networks have inputs")
    networks = [
        Network(
            spec,
            take_parameters(spec, tensors, f"{k}/"),
            estimator._learning_rate(),
            backend=backend,
            dtype=spec.dtype,
        )
        for k in range(len(epochs))
    ]
    fields["importances"] = take_importances(tensors, encoder.n_features_in_)
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
            check_array(array, "int64" if name == "residual_groups" else "float64", shape)
        arrays[name] = array
    return arrays


def take_importances(tensors: dict[str, numpy.ndarray], columns: int) -> Importances | None:
    """Return the importances of the columns; None in files of fits that did not have them."""
    arrays = [tensors.pop(name, None) for name in ("importances", "importances_std")]
    values, errors = arrays
    if values is None and errors is None:
        return None
    if values is None:
        raise ValueError("importances have standard errors and no values")
    for array in arrays:
        if array is not None:
            check_array(array, "float64", (columns,))
            if (array < 0).any():
                raise ValueError("an importance or its standard error is negative")
    return Importances(shares=Shares(values, errors))


class _DescribedEncoder(NamedTuple):
    """An encoder in a file. settings : JSON values; tensors : arrays by name"""

    settings: dict[str, object]
    tensors: dict[str, numpy.ndarray]


def _described(encoder: xpnet.TableEncoder) -> _DescribedEncoder:
    """Return a fitted encoder as a file holds it."""
    stored = stored_encodings(encoder.encodings_)
    names = encoder.feature_names_in_.tolist() if hasattr(encoder, "feature_names_in_") else []
    settings = {
        "params": to_json(kept_parameters(encoder) | {"random_state": None}),
        "columns": encoder.n_features_in_,
        "names": names,
        "labels": list(encoder._labels),
        "left_out": dict(encoder.left_out_),
        "notes": dict(encoder.notes_),
        "added": dict(encoder.added_),
        "encodings": stored.entries,
        "forms": {str(column): _described_form(form) for column, form in encoder.forms_.items()},
    }
    return _DescribedEncoder(settings, stored.tensors)


_plain_form = cache(ColumnForm)


def _described_form(form: ColumnForm) -> dict[str, object]:
    """Return the form of a column as JSON values, without what every column has."""
    plain = vars(_plain_form(form.kind))
    changed = {name: value for name, value in vars(form).items() if value != plain[name]}
    if "number_format" in changed:
        changed["number_format"] = asdict(form.number_format)
    return {"kind": form.kind, **changed}


def _forms_of(
    described: object, encodings: list[Encoding], entries: list[dict[str, object]]
) -> dict[int, ColumnForm]:
    """Return the forms of the columns that an encoder of a file uses, by their indices.

    described : None in files of 0.1.0, which hold the forms of dates in the entries of encodings

    Numbers of models that come from such files have no form, also where the model is saved again.

    Raises ValueError for impossible forms, and unless each other column has one.
    """
    columns = {encoding.column for encoding in encodings}
    if described is None:
        of_entries = {
            encoding.column: _form_of_entry(encoding, entry)
            for encoding, entry in reversed(list(zip(encodings, entries, strict=True)))
        }
        return {column: form for column, form in of_entries.items() if form is not None}
    if not isinstance(described, dict):
        raise ValueError("the forms of columns must be an object with one for each column")
    forms = {
        int(column): checked_form(typed(form, ColumnForm)) for column, form in described.items()
    }
    formless = {encoding.column for encoding in encodings if encoding.reads == "number"}
    if not columns - formless <= forms.keys() <= columns or len(forms) != len(described):
        raise ValueError("each column must have one form")
    return forms


def _form_of_entry(encoding: Encoding, entry: dict[str, object]) -> ColumnForm | None:
    """Return the form of a column from an entry of a file of 0.1.0, None for numbers.

    These files do not hold formats of numbers: each file that is predicted shows its own.
    """
    if encoding.reads == "category":
        values = getattr(encoding, "values", ())  # of a category, not of free text
        return category_form([TextCounts(values, numpy.empty(0))], GapValues())
    if encoding.reads != "timestamp":
        return None
    fields = {name: entry[name] for name in _FORM_FIELDS if name in entry}
    low, high = typed([entry["low"], entry["high"]], tuple[float, ...])
    is_time = low >= 0 and high < SECONDS_PER_DAY and entry["part"] == "trend"
    return checked_form(typed({"kind": "time" if is_time else "date", **fields}, ColumnForm))


def encoder_of(described: object, tensors: dict[str, numpy.ndarray]) -> xpnet.TableEncoder:
    """Return an encoder from its settings in a file, in time linear in their size.

    Raises ValueError, KeyError or TypeError for settings that ``_described`` does not write.
    """
    if not isinstance(described, dict):
        raise ValueError("the settings of its encoder must be an object")
    encoder = with_parameters("TableEncoder", from_json(described["params"]))
    columns = typed(described["columns"], int)
    names = typed(described["names"], tuple[str, ...])
    labels = typed(described.get("labels", []), tuple[str, ...])  # files of 0.1.0 have none
    left_out = described["left_out"]
    notes = described.get("notes", {})  # the same
    added = described.get("added", {})  # the same
    entries = described["encodings"]
    encoder.encodings_ = opened_encodings(entries, tensors, columns)
    encoder.forms_ = _forms_of(described.get("forms"), encoder.encodings_, entries)
    is_valid = _is_one_way_each(encoder.encodings_, columns - len(left_out))
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


def _is_one_way_each(encodings: list[Encoding], columns: int) -> bool:
    """Return whether each column is encoded in one way, which others that read it share.

    columns : number of encoded columns
    """
    ways = {
        (encoding.column, encoding.kind, encoding.reads)
        for encoding in encodings
        if not encoding.is_addition
    }
    readings = {ColumnUse(column, reads) for column, _, reads in ways}
    used = {use for encoding in encodings for use in encoding.uses}
    return len({column for column, *_ in ways}) == len(ways) == columns and used <= readings
