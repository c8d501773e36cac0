"""How the rows of a fit are encoded and divided for training and validation."""

from collections.abc import Sequence

import numpy
from numpy.random import RandomState

from xpnet.data.sources import Source
from xpnet.learning.labels import hard_labels
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.rows.divided_rows import DividedRows
from xpnet.tabular.rows.division import Fold, group_folds, joined, latest_fold, random_folds
from xpnet.tabular.rows.fit_rows import CountedRows, encode_rows, fit_encoder
from xpnet.tabular.rows.large_tables import encode_large, is_large
from xpnet.tabular.settings import TableSettings
from xpnet.training import LabeledRows
from xpnet.typing import Transformer

DEFAULT_FRACTION = 1 / 8
"""Share of new rows for validation where the settings name none: a refinement always has some."""


def encode_and_divide(
    settings: TableSettings,
    encoder: Transformer,
    training: CountedRows,
    validation: CountedRows | None,
    random_state: RandomState,
) -> DividedRows:
    """Fit an encoder, and return the encoded rows, divided for training and validation.

    validation : the user's own; None for a part of the training rows
    """
    training = training.with_forms(encoder)
    if isinstance(encoder, TableEncoder) and is_large(training):
        return encode_large(settings, encoder, training, validation, random_state)
    are_own = isinstance(encoder, TableEncoder)
    fraction = settings.validation_fraction
    is_by_time = validation is None and training.links.time is not None and fraction > 0
    if is_by_time:
        training, validation = training.divided_by_time(fraction)
    rows, means = fit_encoder(encoder, training, settings.dtype, has_classes=settings.has_classes)
    if validation is None:
        folds = folds_of(settings, rows, random_state, training.links.groups)
        return DividedRows(rows, folds, are_own, means)
    validation_rows = encode_rows(encoder, validation, settings.dtype)
    if not is_by_time:
        return DividedRows(rows, validation_rows, are_own)
    fold = latest_fold(len(rows.X), len(validation_rows.X))
    return DividedRows(joined(rows, validation_rows), [fold], are_own)


def folds_of(
    settings: TableSettings,
    rows: LabeledRows,
    random_state: RandomState,
    groups: numpy.ndarray | None = None,
) -> Sequence[Fold] | None:
    """Return training and validation rows for each network, by cross-validation."""
    fraction = settings.validation_fraction
    if not fraction or isinstance(rows.X, Source):
        return None
    count = min(round(1 / fraction), len(rows.X))
    if count < 2:
        return None
    labels = hard_labels(rows.Y) if settings.has_classes else None
    if groups is not None:
        return group_folds(rows.X, groups, labels, count, random_state)
    return random_folds(len(rows.X), labels, count, random_state)


def encode_and_divide_new(
    settings: TableSettings,
    encoder: Transformer,
    new: CountedRows,
    validation: CountedRows | None,
    random_state: RandomState,
) -> DividedRows:
    """Encode rows by an encoder that is fitted, and divide them for training and validation.

    validation : the user's own; None for a part of the new rows, an eighth unless the settings say
        how many
    """
    parts = max(2, round(1 / (settings.validation_fraction or DEFAULT_FRACTION)))
    if validation is not None:
        rows, own = (encode_rows(encoder, part, settings.dtype) for part in (new, validation))
        return DividedRows(rows, own)
    if new.links.time is not None:
        both = new.divided_by_time(1 / parts)
        earlier, later = (encode_rows(encoder, part, settings.dtype) for part in both)
        fold = latest_fold(len(earlier.X), len(later.X))
        return DividedRows(joined(earlier, later), [fold])
    rows = encode_rows(encoder, new, settings.dtype)
    labels = hard_labels(rows.Y) if settings.has_classes else None
    if new.links.groups is not None:
        folds = group_folds(rows.X, new.links.groups, labels, parts, random_state)
    else:
        folds = random_folds(len(rows.X), labels, parts, random_state)
    return DividedRows(rows, folds)
