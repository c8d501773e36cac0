"""How the rows of a fit are encoded and divided for training and validation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy
from numpy.random import RandomState

from xpnet.learning.labels import hard_labels
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.rows.division import (
    Fold,
    group_folds,
    latest_fold,
    random_folds,
    with_unseen_inputs,
)
from xpnet.tabular.rows.large_tables import encode_large, is_large
from xpnet.tabular.rows.table_rows import TableRows, encode_rows, fit_encoder
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.tabular.settings import TableSettings
from xpnet.typing import Transformer

DEFAULT_FRACTION = 1 / 8
"""Share of new rows for validation where the settings name none: a refinement always has some."""
MAX_SHARE_OF_FOLDS = 3 / 8
"""Share of the folds whose validation rows the networks of a fit have; more networks take the same
folds again. The targets of the other rows decide how columns are encoded, which fewer rows would
decide worse."""


def encode_and_divide(
    settings: TableSettings,
    encoder: Transformer,
    training: TableRows,
    validation: TableRows | None,
    random_state: RandomState,
) -> TableSplit:
    """Fit an encoder, and return the encoded rows, divided for training and validation.

    validation : the user's own; None for a part of the training rows
    """
    training = training.with_forms(encoder)
    if isinstance(encoder, TableEncoder) and is_large(training):
        return encode_large(settings, encoder, training, validation, random_state)
    fraction = settings.validation_fraction
    is_by_time = validation is None and training.links.time is not None and fraction > 0
    if is_by_time:
        training, validation = training.divided_by_time(fraction)
    parts = ValidationFolds((), ())
    if validation is None:
        folds = folds_of(settings, training, random_state)
        if folds is not None and isinstance(encoder, TableEncoder):
            parts = folds_in_use(settings, folds, training.count)
        elif folds is not None:
            parts = ValidationFolds(folds, ())
    split = fit_encoder(
        encoder,
        training,
        settings.dtype,
        has_classes=settings.has_classes,
        learned_rows=parts.learned_rows(training.count),
    )
    if validation is None:
        used, unused = (with_unseen_inputs(folds, split.rows.X) for folds in parts)
        return replace(split, validation=used or None, other_folds=unused)
    # The encoder has learned from no validation row: its mean targets hold for all networks.
    validation_rows = encode_rows(encoder, validation, settings.dtype)
    if not is_by_time:
        return replace(split, validation=validation_rows, means=())
    fold = latest_fold(training.count, validation.count)
    return replace(split, rows=split.rows.joined(validation_rows), validation=[fold], means=())


class ValidationFolds(NamedTuple):
    """The folds of a fit. used : whose validation rows networks have; unused : the others"""

    used: Sequence[Fold]
    unused: Sequence[Fold]

    def learned_rows(self, rows: int) -> numpy.ndarray | None:
        """Return which rows are validation rows of no network: (rows,) bool, None without folds.

        rows : number of rows
        """
        if not self.used:
            return None
        is_learned = numpy.ones(rows, bool)
        for fold in self.used:
            is_learned[fold.validation] = False
        return is_learned


def folds_in_use(settings: TableSettings, folds: Sequence[Fold], rows: int) -> ValidationFolds:
    """Return the folds whose validation rows the networks have in turn.

    The columns are encoded by the targets of the other rows alone. Bins of trees that know the
    targets of validation rows make their loss lower than that of new rows. (Cawley, Talbot, On
    Over-fitting in Model Selection and Subsequent Selection Bias in Performance Evaluation, 2010.)

    rows : number of rows
    """
    _, networks = settings.network_counts(rows)
    count = min(networks, max(1, round(MAX_SHARE_OF_FOLDS * len(folds))))
    return ValidationFolds(folds[:count], folds[count:])


def folds_of(
    settings: TableSettings, rows: TableRows, random_state: RandomState
) -> Sequence[Fold] | None:
    """Return training and validation rows for each network, by cross-validation; None for none."""
    fraction = settings.validation_fraction
    if not fraction:
        return None
    count = min(round(1 / fraction), rows.count)
    return None if count < 2 else divided_into(count, settings, rows, random_state)


def divided_into(
    count: int, settings: TableSettings, rows: TableRows, random_state: RandomState
) -> Sequence[Fold]:
    """Divide rows into a number of folds, of whole groups if they have any; fewer groups make fewer
    folds.
    """
    labels = hard_labels(rows.Y) if settings.has_classes else None
    groups = rows.links.groups
    if groups is not None:
        return group_folds(groups, labels, count, random_state)
    return random_folds(rows.count, labels, count, random_state)


def encode_and_divide_new(
    settings: TableSettings,
    encoder: Transformer,
    new: TableRows,
    validation: TableRows | None,
    random_state: RandomState,
) -> TableSplit:
    """Encode rows by an encoder that is fitted, and divide them for training and validation.

    validation : the user's own; None for a part of the new rows, an eighth unless the settings say
        how many
    """
    parts = max(2, round(1 / (settings.validation_fraction or DEFAULT_FRACTION)))
    if validation is not None:
        rows = encode_rows(encoder, new, settings.dtype)
        return TableSplit(rows, encode_rows(encoder, validation, settings.dtype))
    if new.links.time is not None:
        both = new.divided_by_time(1 / parts)
        earlier, later = (encode_rows(encoder, part, settings.dtype) for part in both)
        fold = latest_fold(len(earlier.X), len(later.X))
        return TableSplit(earlier.joined(later), [fold])
    rows = encode_rows(encoder, new, settings.dtype)
    folds = divided_into(parts, settings, new, random_state)
    return TableSplit(rows, with_unseen_inputs(folds, rows.X))
