"""The parameters of both tabular estimators, and the encoder that they describe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, ClassVar

import numpy
from numpy.random import RandomState
from sklearn.base import clone
from sklearn.utils import check_random_state

from xpnet.backend import Backend, UpdateRule
from xpnet.errors import InputError
from xpnet.learning.parameters import (
    ARRAY_LIKE,
    COUNT,
    FLAG,
    FRACTION,
    NEGATIVE_COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    RANDOM_STATE,
    Interval,
    allowing,
    hidden_sizes,
)
from xpnet.learning.scikit_learn import BaseEstimator
from xpnet.optimizers import OPTIMIZERS
from xpnet.tabular.encoder import CATEGORICAL_FEATURES, TableEncoder
from xpnet.tabular.encodings.encoding_target import Task
from xpnet.tabular.ensemble.best_epoch import Patience
from xpnet.tabular.quality import DEFAULT_QUALITY, QUALITIES
from xpnet.tabular.settings import TableSettings
from xpnet.typing import ArrayLike, Transformer

if TYPE_CHECKING:
    from sklearn.utils import Tags

SGD_MOMENTUM = 0.9
"""Momentum of ``solver="sgd"``."""

PLAIN_NETWORK = {
    "hidden_layer_sizes": (100,),
    "members": 1,
    "networks": 1,
    "encoder": TableEncoder(scaling="standard", bins=None),
    "dropout": 0.0,
    "weight_decay": 0.0003,
    "learning_rate_init": 0.002,
    "max_iter": 200,
    "n_iter_no_change": 10,
}
"""Parameters of one network on scaled numbers."""

PARAMETERS_OF_MODELS: Mapping[str, Mapping[str, object]] = {
    "tabular": {},
    "mlp": PLAIN_NETWORK,
    "linear": PLAIN_NETWORK | {"hidden_layer_sizes": (), "learning_rate_init": 0.02},
}
"""Parameters that ``xpnet train --model`` stands for, in place of the defaults, by the kind of
model."""


@dataclass(eq=False, repr=False, kw_only=True)
class TabularParameters(BaseEstimator):
    """The parameters of both tabular estimators.

    Parameters
    ----------
    quality : int, default 3
        From 1, for the least CPU time, to 5, for the lowest error. It decides what ``"auto"``
        stands for in the parameters below; those that are set have precedence.
    hidden_layer_sizes : int, sequence of int, or "auto", default "auto"
        Units of each hidden layer; ``()`` for a linear model. ``"auto"`` is two layers of 64, 96
        or 128 units by quality, inputs scaled by the importances of trees, and a linear
        baseline in the outputs where it lowers the validation loss.
    members : int or "auto", default "auto"
        Number of members of each network. They share weights, and have scales and outputs of their
        own; ``"auto"`` is 2 at qualities 1 and 2, else 4.
    networks : int or "auto", default "auto"
        Number of networks. Up to three eighths of the folds of ``validation_fraction`` are
        validation rows, which networks have in turn. ``"auto"`` is 1, 2, 2 or 6 by quality
        for fewer than 10,000 rows; more rows have fewer networks. Several networks differ in
        dropout, learning rate, weight decay and factors of the inputs, as far as these are not set;
        a single network that predicts numbers has smaller factors of the inputs of bins. At quality
        5, fewer than 10,000 rows have a search for the best of these settings: two networks of each
        of four settings are trained, four more of each of the best two, and the settings whose mean
        predicts validation rows best are kept.
    encoder : transformer or None, default None
        Encodes the table as numbers; None for a `TableEncoder`. Sparse results are made dense. It
        gets the groups or times of the rows where its ``fit_transform`` has an argument ``groups``
        or ``time``.
    categorical_features : sequence of str, int or bool, "auto" or "from_dtype", default "auto"
        Columns that are categories whatever they hold, for the `TableEncoder`, which describes it.
    date_format : str, dict of str to str, or None, default None
        Format of dates in text, as `TableEncoder` takes it.
    missing_values : float, str, sequence of these, dict of str to these, or None, default None
        Values that are gaps, such as -999 or "unknown", of all columns or by the name of the
        column, where ``""`` stands for all columns, as `TableEncoder` takes them.
    unreadable : {"error", "gap"}, default "error"
        What becomes of a later value that does not have the form of its column in training: an
        error, or a gap that a warning counts, as `TableEncoder` does it.
    text_features : {"on", "off"}, default "off"
        Whether free text is used, as by `TableEncoder`. Such a model has no form in C or ONNX.
    activation : str or sequence of str, default "relu"
        A name in ``xpnet.ops.ACTIVATIONS``: one for all hidden layers, or one for each.
    solver : str, default "adamw"
        The optimizer, by a name that `xpnet.MLPClassifier` lists; ``"sgd"`` has a momentum of 0.9.
    learning_rate_init : float or "auto", default "auto"
        The learning rate; ``"auto"`` is 0.008 at quality 1, else 0.006 for labels and 0.004 for
        numbers. Where the work of an epoch leaves fewer than ``max_iter="auto"`` names, it falls
        linearly in the last third of them.
    weight_decay : float or "auto", default "auto"
        Every update shrinks all parameters by learning rate times this, but not with ``"sgd"`` and
        ``"adam"``. ``"auto"`` is 0.01 for numbers, and 0.03 (quality 2) or 0.05 for labels.
    dropout : float, default 0.1 for labels, 0 for numbers
        Probability with which a hidden unit is left out in training.
    batch_size : int or "auto", default "auto"
        Rows of a batch; ``"auto"`` is 64, or 128 from 500 rows of labels and 3,000 of numbers
        (500 at quality 1).
    max_iter : int or "auto", default "auto"
        Maximum number of epochs. ``"auto"`` is 400, with which the validation loss nearly always
        stops falling before; from 10,000 rows on it is at most 100 to 200 by quality, and less
        where an epoch takes long (see "What a fit costs" in the guide), and without validation
        rows it is 100 to 200. A
        ``ConvergenceWarning`` reports trainings whose validation loss still fell at the limit.
    n_iter_no_change : int or "auto", default "auto"
        Number of epochs without a lower validation loss after which training ends. The network
        keeps its best epoch. ``"auto"`` grows with the number of the best epoch *b*: 3 + 0.25 *b*
        at quality 1, then 4 + 0.3 *b*, 4 + 0.4 *b*, and 4 + 0.5 *b* at qualities 4 and 5.
    validation_fraction : float, default 0.125
        The share of the rows on which a network is validated and not trained; up to three networks
        have different rows, with labels in proportion. Their targets have no part in bins, in
        factors of inputs and in the choice of what columns are. With 0, training makes ``max_iter``
        epochs.
    refit : bool, default True
        Whether each network, after its best epoch, makes a few more epochs on all rows, its
        validation rows included: two fifths as many epochs again, a fifth at qualities 1 and 2, and
        3 at least. It does not where ``X_val`` is passed, nor where ``max_iter="auto"`` limits the
        epochs of a large table, nor with ``loss="quantile"``, whose intervals would be too narrow,
        nor where ``fit`` encodes a table some thousand rows at a time.
    time_limit : float or None, default None
        Seconds after which ``fit`` ends with the best epochs so far. No epoch begins that would
        end later, by the time of the one before. One network makes at least one epoch; networks
        for which no time is left are not trained. Where the encoding takes a third of the time,
        trees and the linear baseline are left out.
    monotonic_cst : dict of str to int, array of int or None, default None
        1 for a column with which no prediction falls, -1 with which none rises, 0 for others; by
        name, or for each column. It is guaranteed by the signs of weights: for numbers, quantiles,
        counts, the second of two classes, and ordered classes; of finite numbers.
        Such a column must hold numbers; it has no levels, and a fit with one no linear baseline.
    random_state : int, numpy.random.RandomState or None, default None
        Source of the initial weights, validation rows, orders and dropout. The same int gives the
        same fit with the same ``n_jobs`` and the same number of threads.
    verbose : bool or int, default False
        Whether ``fit`` prints the columns that are left out, one line for each network when it is
        trained, and one for a network that takes long every ten seconds; with 2 also one for each
        epoch. A program that has set up logging gets the lines from the logger ``xpnet.fit``.
    n_jobs : int or None, default None
        Number of networks that are trained at the same time, in threads; None for 1, -1 for the
        number of cores, -2 for one less, and so on.
    backend : str, Backend or None, default None
        The backend that computes; None for the best one for NumPy's arrays.
    dtype : {"float32", "float64"}, default "float32"
        The dtype of parameters and results.
    precision : {"auto", "float32"}, default "auto"
        The precision of matrix products. With ``"auto"`` a classifier's training rounds their
        factors to bfloat16 on processors where that takes less time, unless the backend,
        ``--precision`` or ``XPNET_PRECISION`` names a precision; ``why_`` says so. Predictions and
        trainings of regressors are float32. ``"float32"`` pins everything to float32.
    """

    quality: int = allowing(DEFAULT_QUALITY, Interval(Integral, 1, max(QUALITIES), closed="both"))
    hidden_layer_sizes: Sequence[int] | int | str = allowing("auto", ARRAY_LIKE, COUNT, {"auto"})
    members: int | str = allowing("auto", COUNT, {"auto"})
    networks: int | str = allowing("auto", COUNT, {"auto"})
    encoder: Transformer | None = None
    categorical_features: Sequence[str] | Sequence[int] | str = allowing(
        "auto", *CATEGORICAL_FEATURES
    )
    date_format: str | dict[str, str] | None = allowing(None, str, dict, None)
    missing_values: object = allowing(None, Real, str, ARRAY_LIKE, dict, None)
    unreadable: str = allowing("error", {"error", "gap"})
    text_features: str = allowing("off", {"on", "off"})
    activation: str | Sequence[str] = allowing("relu", str, ARRAY_LIKE)
    solver: str = allowing("adamw", set(OPTIMIZERS))
    learning_rate_init: float | str = allowing("auto", POSITIVE, {"auto"})
    weight_decay: float | str = allowing("auto", NOT_NEGATIVE, {"auto"})
    dropout: float = allowing(0.1, FRACTION)
    batch_size: int | str = allowing("auto", COUNT, {"auto"})
    max_iter: int | str = allowing("auto", COUNT, {"auto"})
    n_iter_no_change: int | str = allowing("auto", COUNT, {"auto"})
    validation_fraction: float = allowing(0.125, Interval(Real, 0, 0.5, closed="both"))
    refit: bool = allowing(True, *FLAG)
    time_limit: float | None = allowing(None, POSITIVE, None)
    monotonic_cst: Mapping[str, int] | ArrayLike | None = allowing(None, Mapping, ARRAY_LIKE, None)
    random_state: RandomState | int | None = allowing(None, *RANDOM_STATE)
    verbose: bool | int = allowing(False, NOT_NEGATIVE, *FLAG)
    n_jobs: int | None = allowing(None, COUNT, NEGATIVE_COUNT, None)
    backend: str | Backend | None = None
    dtype: str = allowing("float32", {"float32", "float64"})
    precision: str = allowing("auto", {"auto", "float32"})

    _task: ClassVar[Task]

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def _loss_numbers(self) -> tuple[float, ...]:
        """Return numbers that the loss takes."""
        return ()

    def _settings(self) -> TableSettings:
        """Return the settings of a fit by the parameters, which are checked."""
        quality = QUALITIES[self.quality]
        sizes = self.hidden_layer_sizes
        patience = self.n_iter_no_change
        updates = self.learning_rate_init, self.weight_decay
        return TableSettings(
            task=self._task,
            quality=quality,
            hidden=hidden_sizes(quality.hidden_widths if isinstance(sizes, str) else sizes),
            has_chosen_layers=not isinstance(sizes, str),
            has_chosen_dropout=self.dropout != type(self)().dropout,
            has_chosen_updates=not all(isinstance(value, str) for value in updates),
            members=_number(self.members) or quality.members,
            networks=_number(self.networks),
            activation=self.activation,
            loss=getattr(self, "loss", "softmax_cross_entropy"),
            loss_numbers=self._loss_numbers(),
            rule=self._rule(),
            learning_rate=self._learning_rate(),
            dropout=self.dropout,
            label_smoothing=getattr(self, "label_smoothing", 0.0),
            batch_size=_number(self.batch_size),
            epochs=_number(self.max_iter),
            patience=quality.patience if isinstance(patience, str) else Patience(patience),
            validation_fraction=self.validation_fraction,
            refit=self.refit,
            seconds=self.time_limit or math.inf,
            n_jobs=self.n_jobs,
            backend=self.backend,
            dtype=self.dtype,
            precision=self.precision,
            monotonic_cst=self.monotonic_cst,
        )

    def _learning_rate(self) -> float:
        """Return the learning rate that a parameter names, or that of the quality."""
        if not isinstance(self.learning_rate_init, str):
            return self.learning_rate_init
        quality = QUALITIES[self.quality]
        return quality.label_rate if self._task == "classification" else quality.number_rate

    def _rule(self) -> UpdateRule:
        """Return the update rule of the solver, with the weight decay of a parameter or quality."""
        quality = QUALITIES[self.quality]
        decay = self.weight_decay
        if isinstance(decay, str):
            is_classifier = self._task == "classification"
            decay = quality.label_decay if is_classifier else quality.number_decay
        numbers = {"momentum": SGD_MOMENTUM, "weight_decay": decay}
        optimizer = OPTIMIZERS[self.solver]
        used = {name: numbers[name] for name in optimizer.numbers() if name in numbers}
        return optimizer(**used).rule

    def new_encoder(self, random_state: RandomState | int | None) -> Transformer:
        """Make the encoder that ``fit`` would fit.

        Parameters
        ----------
        random_state : int, numpy.random.RandomState or None
            Source of the encoder's seed, unless it has one.

        Returns
        -------
        transformer
            Not fitted: a copy of ``encoder``, or a `TableEncoder` with the bins of a tree.
        """
        seed = check_random_state(random_state).randint(2**31 - 1)
        plain = _constrained(self.monotonic_cst)
        if self.encoder is None:
            return TableEncoder(
                binning="tree",
                task=self._task,
                categorical_features=self.categorical_features,
                date_format=self.date_format,
                missing_values=self.missing_values,
                unreadable=self.unreadable,
                text_features=self.text_features,
                plain_numbers=plain,
                random_state=seed,
            )
        if not isinstance(self.categorical_features, str):
            raise InputError(
                "`categorical_features` must go with encoder=None; got both. Set "
                "categorical_features of the encoder."
            )
        encoder = clone(self.encoder)
        if plain and not isinstance(encoder, TableEncoder):
            raise InputError(
                f"`monotonic_cst` must go with a TableEncoder; got encoder={self.encoder!r}. Leave "
                "one of them out."
            )
        if plain:
            encoder.set_params(plain_numbers=plain)
        table_parameters = {
            "date_format": None,
            "missing_values": None,
            "unreadable": "error",
            "text_features": "off",
        }
        for name, default in table_parameters.items():
            value = getattr(self, name)
            is_default = value is default or (isinstance(value, str) and value == default)
            if not is_default and name not in encoder.get_params(deep=False):
                raise InputError(
                    f"`{name}` must go with a TableEncoder; got encoder={self.encoder!r}. "
                    f"Leave {name} out."
                )
            if not is_default:
                encoder.set_params(**{name: value})
        if encoder.get_params(deep=False).get("random_state", seed) is None:
            encoder.set_params(random_state=seed)
        return encoder


def _constrained(
    constraints: Mapping[str, int] | ArrayLike | None,
) -> Sequence[str] | Sequence[int]:
    """Return the names or the indices of the columns that have a constraint."""
    if constraints is None:
        return ()
    if isinstance(constraints, Mapping):
        return [name for name, sign in constraints.items() if sign]
    return numpy.flatnonzero(numpy.asarray(constraints)).tolist()


def _number(parameter: int | str) -> int | None:
    """Return the number of a parameter, None for "auto"."""
    return None if isinstance(parameter, str) else int(parameter)
