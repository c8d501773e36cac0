"""Estimators of tables: an encoder, a few networks, and a recipe that needs no setting."""

import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from numbers import Integral, Real
from operator import attrgetter
from typing import Any, ClassVar, Self

import numpy
from joblib import effective_n_jobs
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import NUMERIC_LOSSES, Loss
from xpnet.data.sources import Source
from xpnet.errors import InputError
from xpnet.estimators.inputs import Rows, check_weights
from xpnet.estimators.parameters import (
    ARRAY_LIKE,
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    RANDOM_STATE,
    Interval,
    LossParameters,
    allowing,
    check_parameters,
    check_together,
    hidden_sizes,
    with_documentation_of,
)
from xpnet.models import Network
from xpnet.models.inputs import check_label_types, one_each, require
from xpnet.models.saving import Saved
from xpnet.optimizers import OPTIMIZERS, Optimizer
from xpnet.tabular.apart import best_temperature, conformal_margin, tempered
from xpnet.tabular.columns import table_of
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.plain import MOST_OUTPUTS, MOST_ROWS, few_numbers, scales_of_inputs
from xpnet.tabular.recipe import Folds, Recipe, Watchers, train_networks

WIDTHS = (128, 128)
MEMBERS = 4
"""Members of each network."""
ROWS_AT_ONCE = 32
"""Rows are predicted in multiples of so many: products of fewer round otherwise, and a row's prediction would depend on
how many stand beside it.
"""
NUMBERS_AT_ONCE = 2**23
"""Encoded numbers of a table that are in memory at once while its rows are predicted."""
LARGEST_TARGET = 1e140
"""The squares of larger targets overflow, and with them the standard deviation."""
TINY = 1e-12
"""A mean of counts or amounts is taken to be at least this where its variance is asked for."""
NETWORKS = ((50_000, 1, 1), (10_000, 1, 3), (0, 3, 4))
"""From so many rows on so many networks are trained, at least and at most: the more where few epochs are enough."""
ROWS_OF_A_BATCH = ((3000, 128), (0, 64))
"""Pairs say from how many rows on a batch has how many."""
WORK_OF_A_ROW, USUAL_COLUMNS = 36_000_000, 30
"""Multiplications that a row may cost in training a table of so many columns; more columns cost more in proportion."""
LEAST_EPOCHS, MOST_EPOCHS = 16, 200
"""Bounds of the epochs that are made at most where the user does not say."""


@dataclass(eq=False, repr=False, kw_only=True)
class Tabular(Saved, BaseEstimator):
    """Fits networks on encoded rows and computes their outputs, for both estimators.

    Parameters
    ----------
    hidden_layer_sizes : int, sequence of int, or "auto", default "auto"
        Units of each hidden layer; ``()`` for a linear model. ``"auto"`` is 128 and 128, and lets trees and a linear
        model help: factors for inputs, and a share in the outputs where it lowers the loss on the rows set apart.
    members : int or "auto", default "auto"
        How many members a network has. They share weights, and have scales and outputs of their own; ``"auto"`` is 4.
    networks : int or "auto", default "auto"
        How many networks are trained, each with other rows set apart; ``"auto"`` is 1, 1 to 3
        for fewer than 50,000 rows, 3 or 4 for fewer than 10,000: the more where few epochs are enough.
    encoder : transformer or None, default None
        What makes numbers of the table; None for a `TableEncoder`.
    activation : str or sequence of str, default "relu"
        A name in ``xpnet.ops.ACTIVATIONS``: one for all hidden layers, or one for each.
    solver : str, default "adamw"
        How the loss is minimised; ``"sgd"`` has a momentum of 0.9.
    learning_rate_init : float, default 0.004
        The learning rate. Where ``max_iter`` is ``"auto"`` it falls evenly over the last third of the epochs.
    weight_decay : float, default 0.2 for labels, 0.01 for numbers
        Every update shrinks all parameters by learning rate times this; not with ``"sgd"`` and ``"adam"``.
    dropout : float, default 0.1 for labels, 0 for numbers
        Probability with which a hidden unit is left out in training.
    batch_size : int or "auto", default "auto"
        Rows of a minibatch; ``"auto"`` is 64 or 128, by the number of rows.
    max_iter : int or "auto", default "auto"
        Epochs at most; ``"auto"`` is 16 to 200, fewer where an epoch takes longer.
    n_iter_no_change : int, default 7
        Epochs without a fall of the loss on the rows set apart before training ends; the best epoch is kept.
    validation_fraction : float, default 0.125
        The share of the rows that is set apart, another for each network, with labels in proportion; 0 for none:
        training makes ``max_iter`` epochs.
    time_limit : float or None, default None
        Seconds after which ``fit`` ends with the best epochs so far; each network makes one epoch at least.
    random_state : int, numpy.random.RandomState or None, default None
        Where weights, divisions of the rows, orders and dropout are drawn from. An int gives the same fit each time.
    n_jobs : int or None, default None
        How many networks are trained side by side, in threads; None for 1, -1 for as many as there are cores.
    backend : str, Backend or None, default None
        What computes; None for the best one for NumPy's arrays.
    dtype : {"float32", "float64"}, default "float32"
        In which precision to compute.

    Attributes
    ----------
    encoder_ : transformer
        The fitted encoder; its ``left_out_`` tells which columns are not used, and why.
    networks_ : list of Network
        The networks.
    best_epochs_ : list of int
        The epoch that each network kept.
    n_iter_ : int
        The most epochs that a network made.
    why_ : str
        What was trained, with which backend, and why.
    """

    hidden_layer_sizes: Any = allowing("auto", ARRAY_LIKE, COUNT, {"auto"})
    members: int | str = allowing("auto", COUNT, {"auto"})
    networks: int | str = allowing("auto", COUNT, {"auto"})
    encoder: Any = None
    activation: Any = allowing("relu", str, ARRAY_LIKE)
    solver: str = allowing("adamw", set(OPTIMIZERS))
    learning_rate_init: float = allowing(0.004, POSITIVE)
    weight_decay: float = allowing(0.2, NOT_NEGATIVE)
    dropout: float = allowing(0.1, FRACTION)
    batch_size: int | str = allowing("auto", COUNT, {"auto"})
    max_iter: int | str = allowing("auto", COUNT, {"auto"})
    n_iter_no_change: int = allowing(7, COUNT)
    validation_fraction: float = allowing(0.125, Interval(Real, 0, 0.5, closed="both"))
    time_limit: float | None = allowing(None, POSITIVE, None)
    random_state: Any = allowing(None, *RANDOM_STATE)
    n_jobs: int | None = allowing(None, Integral, None)
    backend: str | Backend | None = None
    dtype: str = allowing("float32", {"float32", "float64"})

    _task: ClassVar[str]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    @abstractmethod
    def _learn_targets(self, y: Any) -> None:
        """See what targets are."""

    @abstractmethod
    def _targets(self, y: Any, name: str = "y") -> numpy.ndarray:
        """Return targets as the loss takes them."""

    @abstractmethod
    def _learn_apart(
        self, outputs: numpy.ndarray, targets: numpy.ndarray, weight: numpy.ndarray | None
    ) -> None:
        """Learn how far predictions of new rows may be trusted, from those of rows that were set apart."""

    def _loss_numbers(self) -> tuple[float, ...]:
        """Return numbers that the loss takes."""
        return ()

    def _weights(self, targets: numpy.ndarray, sample_weight: Any) -> numpy.ndarray | None:
        """Return weights of rows, those of their classes included; None for equal ones."""
        return sample_weight

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Encode a table, and train on it.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        y : array, shape (rows,)
            The targets.
        sample_weight : array, shape (rows,), optional
            Weights of the rows, not negative.
        X_val : frame, Arrow table, dict of columns, or array, optional
            Rows that end the training, in place of a part of X.
        y_val : array, shape (validation rows,), optional
            Their targets.
        sample_weight_val : array, shape (validation rows,), optional
            Their weights.

        Returns
        -------
        Tabular
            Itself.

        Raises
        ------
        ValueError
            For targets or weights that do not fit the rows, and for tables that `TableEncoder.fit` refuses.
        """
        began, watch = time.monotonic(), self.__dict__.pop("_watch", None)
        check_parameters(self)
        check_together(X_val, y_val, sample_weight_val)
        if y is None:
            raise InputError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        self._learn_targets(y)
        targets, apart, random_state = self._targets(y), None, check_random_state(self.random_state)
        self.encoder_ = self.new_encoder(random_state)
        encoded = self.encoder_.fit_transform(X, targets if targets.ndim == 1 else targets[:, 0])
        if X_val is not None:
            apart = self._rows(
                self.encoder_.transform(X_val), self._targets(y_val, "y_val"), sample_weight_val
            )
        return self._train(
            self._rows(encoded, targets, sample_weight), apart, random_state, watch, began
        )

    def _rows(self, encoded: Any, targets: numpy.ndarray, sample_weight: Any = None) -> Rows:
        """Return encoded rows with their targets, and with their weights if those are right."""
        X = encoded if isinstance(encoded, Source) else numpy.ascontiguousarray(encoded, self.dtype)
        check_consistent_length(X, targets)
        weight = None
        if sample_weight is not None:
            weight = check_weights(sample_weight, len(X)).astype(self.dtype)
            if (weight < 0).any():
                raise InputError(
                    "No sample weight is negative; some are. Leave sample_weight out, or mend it."
                )
        return Rows(X, targets, self._weights(targets, weight))

    def _train(
        self,
        rows: Rows,
        held: Rows | None,
        random_state: Any,
        watch: Callable[[int], Watchers] | None,
        began: float,
    ) -> Self:
        """Train the networks. held : rows that end the training, None for a part of the rows; began : when fit did"""
        apart: Any = self._folds(rows, random_state) if held is None else held
        of_rows = next(
            (least, most) for from_rows, least, most in NETWORKS if len(rows.X) >= from_rows
        )
        least, most = of_rows if isinstance(self.networks, str) else (self.networks, self.networks)
        recipe = self._recipe(rows, least, began + (self.time_limit or inf), watch)
        seeds = random_state.randint(2**31 - 1, size=most)
        jobs = min(effective_n_jobs(self.n_jobs), least)
        self.networks_: list[Network]
        # A linear model that is not at its minimum yet may help all the same.
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            self.networks_, self.best_epochs_ = train_networks(
                recipe, rows, apart, seeds.tolist(), least, jobs
            )
        self.n_iter_ = max(network.history.epochs for network in self.networks_)
        self._learn_apart(*self._predicted_apart(rows, apart))
        return self

    def _predicted_apart(
        self, rows: Rows, apart: Any
    ) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray | None]:
        """Return outputs (n, out) of networks for rows that did not train them, and targets and weights of these rows.

        apart : rows that ended the training of all, or indices for each network, or None
        """
        if isinstance(apart, Rows):
            X: Any = apart.X
            parts = (
                (part for k in range(X.blocks) for part in X.parts(k))
                if isinstance(X, Source)
                else [X]
            )
            means = [numpy.mean(self._outputs(part, "predict"), axis=0) for part in parts]
            return numpy.concatenate(means), apart.Y, apart.weight
        pairs = (
            [(network, apart[k % len(apart)][1]) for k, network in enumerate(self.networks_)]
            if apart
            else []
        )
        outputs = [
            network.backend.to_numpy(network.predict(rows.X[indices])) for network, indices in pairs
        ]
        there = numpy.concatenate([numpy.empty(0, numpy.int64), *(indices for _, indices in pairs)])
        nothing = numpy.empty((0, self.networks_[0].spec.widths[-1]), self.dtype)
        weight = None if rows.weight is None else rows.weight[there]
        return numpy.concatenate([nothing, *outputs]), rows.Y[there], weight

    def new_encoder(self, random_state: Any, bins: int | str | None = "auto") -> Any:
        """Make the encoder that ``fit`` would fit.

        Parameters
        ----------
        random_state : int, numpy.random.RandomState or None
            Where the encoder's seed is drawn from, unless it has one.
        bins : int, "auto" or None, default "auto"
            Bins of the default encoder.

        Returns
        -------
        transformer
            Not fitted: a copy of ``encoder``, or a `TableEncoder` with the bins of a tree.
        """
        seed = check_random_state(random_state).randint(2**31 - 1)
        if self.encoder is None:
            return TableEncoder(binning="tree", bins=bins, task=self._task, random_state=seed)
        made = clone(self.encoder)
        if made.get_params(deep=False).get("random_state", seed) is None:
            made.set_params(random_state=seed)
        return made

    def watch(self, make: Callable[[int], Watchers]) -> Self:
        """Let callbacks of :mod:`xpnet.training` see the trainings of the next ``fit``.

        Parameters
        ----------
        make : callable
            Called with the number of a network; returns its callbacks, and the state of a training that was cut off
            from which it goes on, or None.

        Returns
        -------
        Tabular
            Itself.
        """
        self._watch: Callable[[int], Watchers] | None = make
        return self

    def fit_encoded(
        self,
        encoder: Any,
        X: Any,
        y: Any,
        *,
        classes: numpy.ndarray | None = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Train on rows that a fitted encoder has encoded, of a table that does not fit into memory as it is.

        Parameters
        ----------
        encoder : transformer
            Fitted on some of the rows.
        X : array or Source, shape (rows, inputs)
            What it makes of all rows, in ``dtype``.
        y : array, shape (rows,)
            The targets: numbers, or indices into ``classes``.
        classes : array, shape (classes,), optional
            The labels, sorted.
        X_val : array or Source, shape (validation rows, inputs), optional
            Rows that end the training. None has rows of X set apart, unless X is a source.
        y_val : array, shape (validation rows,), optional
            Their targets.

        Returns
        -------
        Tabular
            Itself.
        """
        began, watch = time.monotonic(), self.__dict__.pop("_watch", None)
        if classes is not None:
            self.classes_ = classes
        else:
            self._learn_targets(y)
            y, y_val = self._targets(y), None if y_val is None else self._targets(y_val, "y_val")
        self.encoder_ = encoder
        apart = None if X_val is None else self._rows(X_val, y_val)
        return self._train(
            self._rows(X, y), apart, check_random_state(self.random_state), watch, began
        )

    def _optimizer(self) -> Optimizer:
        """Return the optimizer that the parameters name, with the numbers of the recipe."""
        numbers = {"momentum": 0.9, "weight_decay": self.weight_decay}
        optimizer = OPTIMIZERS[self.solver]
        used = {name: numbers[name] for name in optimizer.numbers() if name in numbers}
        return optimizer(**used)

    def _recipe(
        self, rows: Rows, least: int, end: float, watch: Callable[[int], Watchers] | None
    ) -> Recipe:
        """Return what the networks of these rows have in common. least : how many there are at least"""
        loss: Loss = getattr(self, "loss", "softmax_cross_entropy")
        outputs = len(self.classes_) if self._task == "classification" else self.target_.shape[1]
        hidden = hidden_sizes(
            WIDTHS if isinstance(self.hidden_layer_sizes, str) else self.hidden_layer_sizes
        )
        size = next(size for from_rows, size in ROWS_OF_A_BATCH if len(rows.X) >= from_rows)
        members = MEMBERS if isinstance(self.members, str) else self.members
        spec = NetworkSpec(
            widths=(rows.X.shape[1], *hidden, outputs),
            members=members if hidden else 1,  # without weights to share they would be one network
            activations=one_each("activation", self.activation, len(hidden)),
            loss=loss,
            loss_numbers=self._loss_numbers(),
            rule=self._optimizer().rule,
            dtype=self.dtype,
            dropout=(self.dropout,) * len(hidden) if self.dropout else (),
        )
        batch_size = size if self.batch_size == "auto" else int(self.batch_size)
        epochs = self.max_iter
        if isinstance(epochs, str):  # so many that a row costs no more than it may
            first, *others = (a * b for a, b in pairwise(spec.widths))
            work = (
                least * spec.members * (2 * first + 3 * sum(others))
            )  # products; the first needs none for its inputs
            may = WORK_OF_A_ROW * max(self.n_features_in_, USUAL_COLUMNS) / USUAL_COLUMNS
            epochs = int(min(MOST_EPOCHS, max(LEAST_EPOCHS, may // work)))
        return Recipe(self, spec, batch_size, epochs, *self._plain_models(spec, rows), end, watch)

    def _plain_models(
        self, spec: NetworkSpec, rows: Rows
    ) -> tuple[numpy.ndarray | None, csr_array | None]:
        """Return factors of inputs, and sums of them for a linear model, unless the user chooses the hidden layers."""
        chosen = not isinstance(self.encoder_, TableEncoder) or not isinstance(
            self.hidden_layer_sizes, str
        )
        if chosen or isinstance(rows.X, Source):
            return None, None
        encodings = self.encoder_.encodings_
        scales = scales_of_inputs(encodings, rows.X, rows.Y, rows.weight, self._task)
        fits = (
            spec.loss in ("squared_error", "softmax_cross_entropy")
            and spec.widths[-1] <= MOST_OUTPUTS
        )
        if not fits or set(spec.activations) != {"relu"} or len(rows.X) > MOST_ROWS:
            return scales, None
        return scales, few_numbers(encodings, codes=False)[0].multiply(1 / scales[:, None]).tocsr()

    def _folds(self, rows: Rows, random_state: Any) -> Folds | None:
        """Return rows to train on and rows set apart: so many divisions that each row is set apart once."""
        count = (
            min(round(1 / self.validation_fraction), len(rows.X)) if self.validation_fraction else 0
        )
        if count < 2 or isinstance(rows.X, Source):
            return None
        labels = rows.Y if self._task == "classification" else None
        stratified = labels is not None and numpy.bincount(labels).max() >= count
        division = (StratifiedKFold if stratified else KFold)(
            count, shuffle=True, random_state=random_state
        )
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="The least populated class"
            )  # has fewer rows than folds
            return list(division.split(rows.X, labels))

    def predict_members(self, X: Any) -> numpy.ndarray:
        """Predict with each member on its own, to see how far they agree.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.

        Returns
        -------
        numpy.ndarray, shape (networks * members, rows, outputs)
            Probabilities of classes, or predicted numbers, of several quantiles in rising order.

        Raises
        ------
        InputError
            For columns that are not those of the training.
        """
        blocks = (self._outputs(encoded, "predict_members") for encoded in self._encoded_blocks(X))
        return self._units(numpy.concatenate([numpy.concatenate(each) for each in blocks], axis=1))

    def _mean(self, X: Any) -> numpy.ndarray:
        """Return the mean prediction of all members: (rows, outputs)."""
        blocks = (self._outputs(encoded, "predict") for encoded in self._encoded_blocks(X))
        return self._units(numpy.concatenate([numpy.mean(each, axis=0) for each in blocks]))

    def _outputs(self, encoded: numpy.ndarray, method: str) -> list[numpy.ndarray]:
        """Return what a method of each network gives for encoded rows: (..., rows, outputs)."""
        rows = len(encoded)
        whole = numpy.pad(encoded, ((0, -rows % ROWS_AT_ONCE), (0, 0)))
        return [
            network.backend.to_numpy(getattr(network, method)(whole))[..., :rows, :]
            for network in self.networks_
        ]

    def _encoded_blocks(self, X: Any) -> Iterator[numpy.ndarray]:
        """Yield the encoded rows, some at a time, in multiples of ROWS_AT_ONCE but for the last.

        Raises NotFittedError before ``fit``.
        """
        check_is_fitted(self)
        if not isinstance(self.encoder_, TableEncoder):  # which may look at all rows together
            yield numpy.ascontiguousarray(self.encoder_.transform(X), self.dtype)
            return
        step = (
            max(1, NUMBERS_AT_ONCE // (self.networks_[0].spec.widths[0] * ROWS_AT_ONCE))
            * ROWS_AT_ONCE
        )
        table = table_of(X)
        for rows in gen_batches(table.rows, step):
            yield numpy.ascontiguousarray(self.encoder_.transform(table.part(rows)), self.dtype)

    def _units(self, outputs: numpy.ndarray) -> numpy.ndarray:
        """Return outputs (..., out) in the target's unit, those of several quantiles in rising order."""
        return outputs

    n_features_in_ = property(
        attrgetter("encoder_.n_features_in_"), doc="Number of columns of the table."
    )
    feature_names_in_ = property(
        attrgetter("encoder_.feature_names_in_"), doc="Their names, where all are text."
    )

    @property
    def why_(self) -> str:
        """Say what was trained, with which backend, and why."""
        check_is_fitted(self)
        spec, count = self.networks_[0].spec, len(self.networks_)
        network = f"{count} network{'s' * (count > 1)} {'-'.join(map(str, spec.widths))}"
        return f"{network} of {spec.members} members; {self.networks_[0].why_}"


@with_documentation_of(Parameters=Tabular, Attributes=Tabular)
@dataclass(eq=False, repr=False, kw_only=True)
class TabularClassifier(ClassifierMixin, Tabular):
    """Classify the rows of a table: encoder, networks and recipe together, with nothing that has to be set.

    A `TableEncoder` makes numbers of the table. A few networks are trained on them, each with another part of the rows
    set apart to end its training. Each has several members, and the mean of their probabilities is predicted.

    Parameters
    ----------
    <parameters of both estimators>
    label_smoothing : float, default 0.0
        The share of a label that is spread over all classes in training, in [0, 1).
    class_weight : dict, "balanced" or None, default None
        Weights by label, or rows / (classes * rows of the class); they multiply ``sample_weight``.
    calibration : {"temperature"} or None, default None
        ``"temperature"`` finds the power of all probabilities that makes those of the rows set apart the most likely
        (Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, 2017). Predicted labels stay.

    Attributes
    ----------
    temperature_ : float
        Probabilities are raised to 1 / temperature and scaled to sum to 1; 1 without ``calibration``.
    classes_ : numpy.ndarray, shape (classes,)
        The labels, in the order of the columns of ``predict_proba``.
    <attributes of both estimators>

    See Also
    --------
    xpnet.TabularRegressor : The same for numbers.
    xpnet.MLPClassifier : One network on numbers, with scikit-learn's parameters and results.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> rng = numpy.random.default_rng(0)
    >>> table = {"size": rng.normal(size=300), "colour": rng.choice(["red", "blue"], 300)}
    >>> label = numpy.where((table["size"] > 0) == (table["colour"] == "red"), "yes", "no")
    >>> classifier = xpnet.TabularClassifier(random_state=0).fit(table, label)
    >>> classifier.score(table, label) > 0.9
    True
    """

    label_smoothing: float = allowing(0.0, FRACTION)
    class_weight: Any = allowing(None, dict, {"balanced"}, None)
    calibration: str | None = allowing(None, {"temperature"}, None)

    _task: ClassVar[str] = "classification"

    def _learn_targets(self, y: Any) -> None:
        check_label_types(y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_ = numpy.unique(y)
        if len(self.classes_) < 2:
            raise InputError(
                f"A classifier needs rows of two classes; received 1 class or 0 sample(s): {self.classes_.tolist()}."
            )

    def _targets(self, y: Any, name: str = "y") -> numpy.ndarray:
        check_label_types(y, name)
        y = column_or_1d(y)
        indices = numpy.searchsorted(self.classes_, y).clip(0, len(self.classes_) - 1)
        unknown = self.classes_[indices] != y
        if unknown.any():
            raise InputError(
                f"Labels of {name} are among those of y; {y[unknown].tolist()[0]!r} is not. Leave such rows out."
            )
        return indices

    def _weights(self, targets: numpy.ndarray, sample_weight: Any) -> numpy.ndarray | None:
        if self.class_weight is None:
            return sample_weight
        weight = compute_sample_weight(self.class_weight, self.classes_[targets]).astype(self.dtype)
        if (weight < 0).any():
            raise InputError(
                f"No weight of a class is negative; received class_weight={self.class_weight}."
            )
        return weight if sample_weight is None else weight * sample_weight

    def _learn_apart(
        self, outputs: numpy.ndarray, targets: numpy.ndarray, weight: numpy.ndarray | None
    ) -> None:
        self.temperature_ = 1.0
        if self.calibration is not None and len(outputs):
            self.temperature_ = best_temperature(outputs, targets, weight)

    def predict_proba(self, X: Any) -> numpy.ndarray:
        """Predict the probabilities of the classes: the mean over the members.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.

        Returns
        -------
        numpy.ndarray, shape (rows, classes)
            Probabilities, in the order of ``classes_``.

        Raises
        ------
        InputError
            For columns that are not those of the training.
        """
        found = self._mean(X)
        return found if self.temperature_ == 1.0 else tempered(found, self.temperature_)

    def predict(self, X: Any) -> numpy.ndarray:
        """Predict the label of each row: the most probable one.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.

        Returns
        -------
        numpy.ndarray, shape (rows,)
            Labels.

        Raises
        ------
        InputError
            For columns that are not those of the training.
        """
        places = self.predict_proba(X).argmax(
            axis=1
        )  # first, as it tells that the estimator is not fitted
        return self.classes_[places]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Measure the accuracy of the predicted labels.

        Parameters
        ----------
        X : frame, table or array, shape (rows, columns)
            The rows.
        y : array, shape (rows,)
            The true labels.
        sample_weight : array, shape (rows,), optional
            Weights of the rows.

        Returns
        -------
        float
            The share of rows whose label is right, at most 1.
        """
        return float(super().score(X, y, sample_weight))


@with_documentation_of(Parameters=Tabular, Attributes=Tabular, Loss=LossParameters)
@dataclass(eq=False, repr=False, kw_only=True)
class TabularRegressor(LossParameters, RegressorMixin, Tabular):
    """Predict numbers for the rows of a table: encoder, networks and recipe together, with nothing that has to be set.

    A `TableEncoder` makes numbers of the table. A few networks are trained on them and on the standardised target, each
    with another part of the rows set apart to end its training. Each has several members, and the mean of their
    predictions is kept to the range of the targets seen. The ``delta`` of Huber's loss is in standard deviations of the
    target.

    Parameters
    ----------
    <parameters of both estimators>
    <loss of both estimators>
    loss : str, default "squared_error"
        What is minimised; `xpnet.MLPRegressor` says what each loss is for.

    Attributes
    ----------
    target_ : numpy.ndarray, shape (4, outputs), float64
        What outputs are moved by and multiplied with to give predictions, and the smallest and largest target.
    residuals_ : numpy.ndarray, shape (rows set apart, outputs), float64
        Targets minus predictions by networks that did not see these rows; for ``"poisson"``, ``"gamma"`` and
        ``"tweedie"`` divided by the root of the variance that the loss assumes, up to a factor.
    residual_weights_ : numpy.ndarray, shape (rows set apart,), float64, or None
        Weights of these rows; None for equal ones.
    <attributes of both estimators>

    See Also
    --------
    xpnet.TabularClassifier : The same for classes.
    xpnet.MLPRegressor : One network on numbers, with scikit-learn's parameters and results.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> rng = numpy.random.default_rng(0)
    >>> table = {"size": rng.normal(size=300), "colour": rng.choice(["red", "blue"], 300)}
    >>> price = 1000 * table["size"] * (table["colour"] == "red")
    >>> regressor = xpnet.TabularRegressor(random_state=0).fit(table, price)
    >>> regressor.score(table, price) > 0.9
    True
    >>> mean, spread = regressor.predict(table, return_std=True)
    >>> mean.shape, spread.shape
    ((300,), (300,))
    >>> low, high = regressor.predict_interval(table, 0.9).T
    >>> bool(((low <= price) & (price <= high)).mean() > 0.8)
    True
    """

    weight_decay: float = allowing(0.01, NOT_NEGATIVE)
    dropout: float = allowing(0.0, FRACTION)
    loss: str = allowing("squared_error", set(NUMERIC_LOSSES))

    _task: ClassVar[str] = "regression"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _learn_targets(self, y: Any) -> None:
        y = self._checked(y)
        self._flat = y.ndim == 1
        y = self._repeated(y.reshape(len(y), -1))
        low, high = y.min(axis=0), y.max(axis=0)
        moved, spread = y.mean(axis=0), y.std(axis=0)
        if self._is_deviance():
            if not high.all():
                raise InputError(
                    f"loss={self.loss!r} takes targets that are not all 0. Look at how y was made."
                )
            moved, spread = numpy.zeros_like(low), moved
        self.target_ = numpy.stack([moved, numpy.where(spread > 0, spread, 1.0), low, high])

    def _checked(self, y: Any) -> numpy.ndarray:
        y = check_array(y, ensure_2d=False, dtype=numpy.float64, input_name="y")
        if numpy.abs(y).max() > LARGEST_TARGET:
            raise InputError(
                f"Targets lie within {LARGEST_TARGET:g} of 0; one is {numpy.abs(y).max():g}. Scale them."
            )
        return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _targets(self, y: Any, name: str = "y") -> numpy.ndarray:
        y, (moved, spread) = self._checked(y), self.target_[:2]
        return ((self._repeated(y.reshape(len(y), -1)) - moved) / spread).astype(self.dtype)

    def _is_deviance(self) -> bool:
        """Say whether positive numbers are predicted, which are scaled and not moved."""
        return self.loss in ("poisson", "gamma", "tweedie")

    def _units(self, outputs: numpy.ndarray) -> numpy.ndarray:
        moved, spread = self.target_[:2]
        return self._in_order(outputs * spread + moved, numpy)

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Predict the number of each row: the mean over the members, kept to the range of the targets seen.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        return_std : bool, default False
            Whether to return how far the members disagree as well.

        Returns
        -------
        numpy.ndarray, shape (rows,) or (rows, outputs), float64
            Predictions, of several quantiles a column for each, in rising order; with ``return_std`` a tuple of them
            and of the standard deviations over the members.

        Raises
        ------
        InputError
            For columns that are not those of the training.
        """
        mean = self._predictions(self._mean(X))
        mean = mean[:, 0] if self._flat and mean.shape[1] == 1 else mean
        return (
            (mean, self.predict_members(X).std(axis=0).reshape(mean.shape)) if return_std else mean
        )

    def _predictions(self, outputs: numpy.ndarray) -> numpy.ndarray:
        """Return outputs in the target's unit, kept to its range."""
        return numpy.clip(outputs, *self.target_[2:])

    def _spread(self, predictions: numpy.ndarray) -> numpy.ndarray | float:
        """Return the root of the variance, up to a factor, that the loss assumes where the mean is predicted."""
        power = {"poisson": 1.0, "gamma": 2.0, "tweedie": self.power}.get(self.loss, 0.0)
        return numpy.maximum(predictions, TINY) ** (power / 2) if power else 1.0

    def _learn_apart(
        self, outputs: numpy.ndarray, targets: numpy.ndarray, weight: numpy.ndarray | None
    ) -> None:
        found = self._predictions(self._units(outputs))
        self.residuals_ = numpy.asarray(
            (self._units(targets) - found) / self._spread(found), numpy.float64
        )
        self.residual_weights_ = None if weight is None else numpy.asarray(weight, numpy.float64)

    def predict_interval(
        self, X: Any, coverage: float = 0.9, *, predictions: Any = None
    ) -> numpy.ndarray:
        """Predict for each row an interval that holds its target with a probability.

        Its margin is a quantile of the residuals of the rows that were set apart in training (split conformal
        prediction). With ``loss="quantile"`` and levels on both sides, such as ``quantile=[0.05, 0.5, 0.95]`` for a
        coverage of 0.9, the interval lies between the predictions of the levels next to the coverage, and its width
        follows the rows (Romano, Patterson, Candes, Conformalized Quantile Regression, 2019). Otherwise it has one
        width for all rows, or, for ``"poisson"``, ``"gamma"`` and ``"tweedie"``, one that grows with the prediction.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        coverage : float, default 0.9
            The share of new targets that the intervals are to hold, in (0, 1).
        predictions : array, optional
            What `predict` gave for these rows, which are then not predicted again.

        Returns
        -------
        numpy.ndarray, shape (rows, 2) or (rows, targets, 2), float64
            Low and high end of each interval.

        Raises
        ------
        InputError
            For a coverage outside (0, 1), for too few rows set apart, and for columns that are not those of the
            training.
        """
        check_is_fitted(self)
        residuals, weight, levels = self.residuals_, self.residual_weights_, self._loss_numbers()
        require(0 < coverage < 1, "The coverage of an interval lies between 0 and 1", coverage)
        found = (
            self._predictions(self._mean(X)) if predictions is None else numpy.asarray(predictions)
        )
        found = found.reshape(len(found), -1)
        # Residuals may be off so far, and many targets may be alike, and stand just at an end.
        rounding = numpy.finfo(self.dtype).eps * numpy.abs(self.target_[2:] - self.target_[0]).max(
            axis=0
        )
        if len(levels) > 1:
            low = max(int(numpy.searchsorted(levels, (1 - coverage) / 2 + 1e-9)) - 1, 0)
            high = min(int(numpy.searchsorted(levels, (1 + coverage) / 2 - 1e-9)), len(levels) - 1)
            margin = conformal_margin(
                numpy.maximum(-residuals[:, [low]], residuals[:, [high]]), coverage, weight
            )
            margin = margin + rounding[:1]
            ends = found[:, [low]] - margin, found[:, [high]] + margin
        else:
            margin = (
                conformal_margin(numpy.abs(residuals), coverage, weight) * self._spread(found)
                + rounding
            )
            ends = found - margin, found + margin
        interval = numpy.stack(
            [numpy.maximum(ends[0], 0) if self._is_deviance() else ends[0], ends[1]], axis=2
        )
        return interval[:, 0] if self._flat else interval

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Measure R^2 of the predictions; for ``loss="quantile"`` D^2 of the pinball loss.

        Parameters
        ----------
        X : frame, table or array, shape (rows, columns)
            The rows.
        y : array, shape (rows,) or (rows, targets)
            The true numbers.
        sample_weight : array, shape (rows,), optional
            Weights of the rows.

        Returns
        -------
        float
            1 for predictions that are all right, 0 for the best constant one, negative for worse.
        """
        found, y = self.predict(X), self._checked(y)
        return float(
            self._score_outputs(y.reshape(len(y), -1), found.reshape(len(found), -1), sample_weight)
        )
