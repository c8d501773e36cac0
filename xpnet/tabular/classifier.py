"""The classifier of tables."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple, NoReturn, Self

import numpy
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from xpnet.errors import InputError, warn_user
from xpnet.learning.exposure import check_passed_with_validation
from xpnet.learning.labels import (
    check_class_weights,
    check_label_types,
    check_savable_labels,
    classes_of_columns,
    hard_labels,
    hint_at_soft_labels,
)
from xpnet.learning.ordered import OrderParameters, indices_in, order_of, ordered_classes
from xpnet.learning.parameters import (
    FRACTION,
    Interval,
    allowing,
    documented_as,
    with_documentation_of,
)
from xpnet.learning.scikit_learn import ClassifierMixin
from xpnet.learning.split import InputRows
from xpnet.learning.weights import weights_of_shares
from xpnet.models.inputs import like_rows, to_host
from xpnet.ops.offsets import has_offsets
from xpnet.tabular.base import Tabular
from xpnet.tabular.columns.records import enumerated
from xpnet.tabular.ensemble.ensemble import TrainedNetworks
from xpnet.tabular.ensemble.validation.calibration import (
    best_temperature,
    best_threshold,
    threshold_of_second,
)
from xpnet.tabular.ensemble.validation.validation_predictions import ValidationPredictions
from xpnet.tabular.ensemble.watching import Callbacks
from xpnet.tabular.fit import TableFit
from xpnet.tabular.fitted import FittedClassifier
from xpnet.tabular.parameters import TabularParameters
from xpnet.tabular.refinement import Refinement
from xpnet.tabular.rows.coded_labels import CodedLabels
from xpnet.tabular.rows.table_rows import check_row_weights
from xpnet.tabular.rows.target_coding import ClassCoding, TargetCoding
from xpnet.tabular.settings import TableSettings
from xpnet.typing import ArrayLike, TableLike, TargetsLike

MIN_ROWS_TO_WARN = 20
"""Number of rows above which a class of one row causes a warning. On fewer rows there is little
else."""


class SoftLabels(NamedTuple):
    """Soft labels as a user passes them. shares : (rows, classes); classes : of the columns"""

    shares: TargetsLike
    classes: ArrayLike


@with_documentation_of(Parameters=TabularParameters, Attributes=Tabular, Order=OrderParameters)
@dataclass(eq=False, repr=False, kw_only=True)
class TabularClassifier(OrderParameters, ClassifierMixin, Tabular):
    """Classify the rows of a table, without settings that have to be chosen.

    A `TableEncoder` encodes the table as numbers. A few networks are trained on them, each with its
    own validation rows, which end its training. Each network has several members, and the mean of
    all members' probabilities is predicted.

    Parameters
    ----------
    <parameters of both estimators>
    <order of both estimators>
    label_smoothing : float, default 0.0
        The share of a label that is spread over all classes in training, in [0, 1).
    class_weight : dict, "balanced" or None, default None
        Weights by label, or rows / (classes * rows of the class); they multiply ``sample_weight``.
    calibration : {"temperature"} or None, default None
        ``"temperature"`` raises probabilities to the power that makes the labels of the validation
        rows the most likely (Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural
        Networks, 2017). The predicted labels stay the same.
    threshold : float, {"f1", "balanced_accuracy"} or None, default None
        The probability of the positive class from which `predict` returns it, in (0, 1); or the
        score of the validation rows, weighted as in the loss, that it maximises: the F1 of the
        positive class, or the balanced accuracy. None for the most probable class.
    positive_class : label or None, default None
        The one of two classes that ``threshold`` is about, and whose F1 the reports of the command
        line have. None for the second in the order of ``classes_``.

    Attributes
    ----------
    temperature_ : float
        Probabilities are raised to 1 / temperature and scaled to sum to 1; 1 without
        ``calibration``.
    threshold_ : float or None
        The probability of the second class from which it is predicted, whichever of the two is the
        positive one; None without ``threshold``.
    classes_ : numpy.ndarray, shape (classes,)
        The labels, in the order of the columns of ``predict_proba``; ordered classes are in rising
        order, others are sorted.
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
    class_weight: Mapping[Any, float] | str | None = allowing(None, dict, {"balanced"}, None)
    calibration: str | None = allowing(None, {"temperature"}, None)
    threshold: float | str | None = allowing(
        None, Interval(Real, 0, 1, closed="neither"), {"f1", "balanced_accuracy"}, None
    )
    positive_class: object = None

    _task = "classification"

    @documented_as(Tabular.fit)
    def fit(
        self,
        X: TableLike,
        y: TargetsLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
        X_val: TableLike | None = None,
        y_val: TargetsLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        time: ArrayLike | str | None = None,
        offset: ArrayLike | None = None,
        offset_val: ArrayLike | None = None,
        callbacks: Callbacks = (),
    ) -> Self:
        """Encode a table and train on it.

        Parameters
        ----------
        y : array, shape (rows,), or with ``classes`` (rows, classes)
            The labels; or soft labels, the probability of each class, without which there is no
            fit.
        classes : array, shape (classes,), optional
            The label of each column of soft labels. One-hot rows train as labels do.
        y_val : array, shape (validation rows,), optional
            Their labels, or soft labels with the columns of ``y``.
        offset : array, shape (rows,) or (rows, classes), optional
            Known parts of the logits, from -80 to 80: of two classes a number that is added to the
            logarithm of the odds of the second, such as a prior or the result of an earlier model;
            of more classes one for each, in the order of ``classes_``. The networks learn the rest.
            Ordered classes have none.
        offset_val : array, shape (validation rows,) or (validation rows, classes), optional
            The offsets of the validation rows that are passed.

        Returns
        -------
        TabularClassifier
            Itself.

        Notes
        -----
        Columns are encoded, and rows divided, by the most probable class of soft labels, and
        without regard to offsets.

        Predictions without offsets are those of an offset of 0, also of exported files. Each member
        learns beside the offsets, and the odds of the mean of their probabilities, after the
        temperature, are multiplied by exp(offset).

        Examples
        --------
        An earlier model knows the effect of one cause; the networks learn what it does not know:

        >>> import numpy
        >>> import xpnet
        >>> rng = numpy.random.default_rng(0)
        >>> known = 2 * rng.normal(size=400)
        >>> table = {"size": rng.normal(size=400)}
        >>> y = rng.logistic(size=400) < known + table["size"]
        >>> model = xpnet.TabularClassifier(quality=1, random_state=0)
        >>> model = model.fit(table, y, offset=known)
        >>> model.score(table, y, offset=known) > model.score(table, y)
        True
        """
        check_passed_with_validation("offset", offset, offset_val, X_val)
        labels = y if classes is None or y is None else SoftLabels(y, classes)
        labels_val = y_val if classes is None or y_val is None else SoftLabels(y_val, classes)
        return self._fit(
            InputRows(X, labels, sample_weight, offset),
            InputRows(X_val, labels_val, sample_weight_val, offset_val),
            groups=groups,
            time=time,
            callbacks=callbacks,
        )

    @documented_as(Tabular.refine)
    def refine(
        self,
        X: TableLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: TableLike | None = None,
        y_val: TargetsLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        time: ArrayLike | str | None = None,
        offset: ArrayLike | None = None,
        offset_val: ArrayLike | None = None,
        learning_rate_share: float = 0.03,
        max_iter: int = 30,
    ) -> Refinement:
        """Go on with new rows: the encoder stays, and the networks train on with a smaller rate.

        Parameters
        ----------
        offset : array, shape (rows,) or (rows, classes), optional
            The offsets of the new rows, as for `fit`; they must be passed where the fit had some.
        offset_val : array, shape (validation rows,) or (validation rows, classes), optional
            The offsets of the validation rows that are passed.
        """
        check_passed_with_validation("offset", offset, offset_val, X_val)
        if self.get_fitted_state().has_offsets and offset is None:
            raise InputError(
                "Rows must have offsets, since those that the model has learned from had them and "
                "its predictions are those of an offset of 0; got none. Pass offset=; where all of "
                "them are 0, offset=numpy.zeros."
            )
        return self._refine(
            InputRows(X, y, sample_weight, offset),
            InputRows(X_val, y_val, sample_weight_val, offset_val),
            groups=groups,
            time=time,
            learning_rate_share=learning_rate_share,
            max_iter=max_iter,
        )

    def _checked_targets(
        self, y: TargetsLike | SoftLabels, name: str
    ) -> CodedLabels | numpy.ndarray:
        if isinstance(y, CodedLabels):
            check_savable_labels(y.labels, name)
            return y
        if isinstance(y, SoftLabels):
            shares = numpy.asarray(to_host(y.shares))
            if shares.ndim == 2 and shares.dtype.kind in "biuf":
                return shares
            if name == "y":
                raise InputError(
                    "`classes` must go with the probabilities of classes in y, (rows, classes) "
                    f"numbers; got {shares.dtype} of shape {shares.shape}. Leave classes out."
                )
            y = y.shares
        y = to_host(y)
        check_label_types(y, name)
        with hint_at_soft_labels(y):
            labels = column_or_1d(y, warn=True)
        check_savable_labels(labels, name)
        check_classification_targets(labels)
        return CodedLabels.of(labels)

    def _settings_for(self, coding: TargetCoding) -> TableSettings:
        settings = self._settings()
        assert isinstance(coding, ClassCoding)
        if not coding.are_ordered:
            return settings
        if self.calibration is not None and self.monotonic_cst is not None:
            raise InputError(
                "`calibration` must be None where classes are ordered and inputs are monotonic, "
                f"since temperatures do not keep the order; got {self.calibration!r}. Leave "
                "calibration out."
            )
        return replace(settings, loss=coding.loss)

    def _learned_targets(self, y: CodedLabels | numpy.ndarray, passed: object) -> ClassCoding:
        if isinstance(passed, SoftLabels):
            assert isinstance(y, numpy.ndarray)
            return self._learned_shares(passed, y.shape[1])
        assert isinstance(y, CodedLabels)
        counts = numpy.bincount(y.indices, minlength=len(y.labels))
        labels, counts = y.labels[counts > 0], counts[counts > 0]
        if len(labels) < 2:
            raise InputError(
                "`y` must hold two classes or more; got 1 class or 0 sample(s): "
                f"{labels.tolist()}. Add rows of another class."
            )
        self._check_threshold(labels)
        single = labels[counts == 1].tolist()
        if single and len(y) > MIN_ROWS_TO_WARN:
            warn_user(
                f"`y` has classes of one row: {enumerated(map(repr, single))}. Such a class cannot "
                "be validated; add rows of it, or leave it out.",
            )
        order = order_of(self.ordered, passed)
        if order is None:
            return ClassCoding(labels)
        if self.threshold is not None:
            raise InputError(
                "`threshold` must be None where classes are ordered, of which "
                f"`ordered_prediction` chooses; got {self.threshold!r}. Leave threshold out."
            )
        return ClassCoding(ordered_classes(labels, order), are_ordered=True)

    def _check_threshold(self, labels: numpy.ndarray) -> None:
        """Raise InputError for a threshold, or a positive class, that does not go with the classes.

        labels : the classes, in any order
        """
        for name in ("threshold", "positive_class"):
            if getattr(self, name) is not None and len(labels) != 2:
                raise InputError(
                    f"`{name}` must go with two classes; got {len(labels)}. Leave {name} out."
                )
        if self.positive_class is not None and self.positive_class not in labels.tolist():
            known = enumerated(map(repr, labels.tolist()))
            raise InputError(
                f"`positive_class` must be one of the labels {known}; "
                f"got {self.positive_class!r}. Pass one of them."
            )

    def _learned_shares(self, passed: SoftLabels, columns: int) -> ClassCoding:
        """Return the coding of soft labels. columns : their number"""
        labels = classes_of_columns(passed.classes, columns)
        self._check_threshold(labels)
        order = order_of(self.ordered, None)
        if order is None:
            return ClassCoding(numpy.sort(labels), share_columns=numpy.argsort(labels))
        present = ordered_classes(numpy.sort(labels), order)
        return ClassCoding(present, are_ordered=True, share_columns=indices_in(labels, present))

    def _with_class_weights(
        self, coding: ClassCoding, Y: numpy.ndarray, weight: numpy.ndarray | None
    ) -> numpy.ndarray | None:
        if self.class_weight is None:
            return weight
        check_class_weights(self.class_weight, coding.labels)
        if Y.ndim == 2:
            of_classes = weights_of_shares(Y, coding.labels.tolist(), self.class_weight)
        else:
            of_classes = compute_sample_weight(self.class_weight, coding.labels[Y])
        converted = check_row_weights(of_classes, len(Y), self.dtype, "class_weight")
        if weight is None or converted is None:
            return converted
        product = converted.astype(numpy.float64) * weight
        return check_row_weights(product, len(Y), self.dtype, "sample_weight")

    def _coding_of(
        self, fitted: FittedClassifier, rows: InputRows
    ) -> tuple[ClassCoding, FittedClassifier]:
        coding = ClassCoding(fitted.classes, fitted.choice is not None)
        return coding, replace(fitted, has_offsets=fitted.has_offsets or rows.have_offsets)

    def _record(self, fit: TableFit, trained: TrainedNetworks) -> FittedClassifier:
        coding = fit.coding
        assert isinstance(coding, ClassCoding)
        return FittedClassifier(
            encoder=fit.encoder,
            networks=trained.networks,
            best_epochs=trained.best_epochs,
            n_iter=trained.n_iter,
            classes=coding.labels,
            temperature=1.0,
            choice=self.ordered_prediction if coding.are_ordered else None,
            has_offsets=fit.has_offsets,
        )

    def _calibrated(
        self, fitted: FittedClassifier, validation: ValidationPredictions
    ) -> FittedClassifier:
        has_temperature = self.calibration is not None and not fitted.is_constant
        if has_temperature and len(validation.outputs):
            temperature = best_temperature(validation.outputs, validation.Y, validation.weight)
            fitted = replace(fitted, temperature=temperature)
        return replace(fitted, threshold=self._threshold(fitted, validation))

    def _threshold(
        self, fitted: FittedClassifier, validation: ValidationPredictions
    ) -> float | None:
        """Return the threshold of the second class; a score is maximised on validation rows."""
        if self.threshold is None:
            return None
        positive = self._positive_index(fitted.classes)
        if not isinstance(self.threshold, str):
            return threshold_of_second(float(self.threshold), positive)
        if not len(validation.outputs):
            raise InputError(
                f"`threshold` must be a number where there are no validation rows; got "
                f"{self.threshold!r}. Pass a number, or a larger validation_fraction."
            )
        classes = len(fitted.classes)
        offsets = validation.Y[:, classes:] if has_offsets(validation.Y, classes) else None
        probabilities = fitted.calibrated(validation.outputs, offsets)
        labels = hard_labels(validation.Y, classes)
        if positive == 0:
            probabilities, labels = probabilities[:, ::-1], 1 - labels
        threshold = best_threshold(probabilities, labels, validation.weight, self.threshold)
        return threshold_of_second(threshold, positive)

    def _positive_index(self, classes: numpy.ndarray) -> int:
        """Return the index of the positive class. classes : the two labels, in their order"""
        return 1 if self.positive_class is None else classes.tolist().index(self.positive_class)

    @property
    def classes_(self) -> numpy.ndarray:
        """Return the labels, in the order of the columns of ``predict_proba``: (classes,)."""
        return self._attribute("classes")

    @property
    def temperature_(self) -> float:
        """Return the temperature of the probabilities, 1 without ``calibration``."""
        return self._attribute("temperature")

    @property
    def threshold_(self) -> float | None:
        """Return the probability of the second class from which it is predicted, or None."""
        return self._attribute("threshold")

    def predict_proba(self, X: TableLike, *, offset: ArrayLike | None = None) -> numpy.ndarray:
        """Predict the probabilities of the classes: the mean over the members.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        offset : array, shape (rows,) or (rows, classes), optional
            Offsets, which are added to the logits, as for `fit`; None for 0.

        Returns
        -------
        numpy.ndarray, shape (rows, classes)
            Probabilities, in the order of ``classes_``; tensors for tensors, as by `predict`.

        Raises
        ------
        InputError
            For columns that are not those of the training, and for offsets that do not fit.
        """
        return like_rows(self.get_fitted_state().probabilities(X, offset), X)

    def predict(self, X: TableLike, *, offset: ArrayLike | None = None) -> numpy.ndarray:
        """Predict the label of each row: the most probable, by the threshold, or the median.

        Parameters
        ----------
        X : frame, Arrow table, dict of columns, or array, shape (rows, columns)
            The table.
        offset : array, shape (rows,) or (rows, classes), optional
            Offsets, which are added to the logits, as for `fit`; None for 0.

        Returns
        -------
        numpy.ndarray, shape (rows,)
            Labels. Where X is a tensor or an array of a device, they are one of its library, on its
            device, unless they are text.

        Raises
        ------
        InputError
            For columns that are not those of the training, and for offsets that do not fit.
        """
        return like_rows(self.get_fitted_state().labels(X, offset), X)

    @property
    def predict_interval(self) -> NoReturn:
        """Raise AttributeError, since a classifier predicts no numbers."""
        raise AttributeError(
            "predict_interval is for numbers; TabularClassifier predicts labels. Use "
            "predict_proba, or TabularRegressor."
        )

    def score(
        self,
        X: TableLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
    ) -> float:
        """Measure the accuracy of the predicted labels.

        Parameters
        ----------
        X : frame, table or array, shape (rows, columns)
            The rows.
        y : array, shape (rows,)
            The true labels.
        sample_weight : array, shape (rows,), optional
            Weights of the rows.
        offset : array, shape (rows,) or (rows, classes), optional
            Offsets of the rows, of which ``predict`` is asked.

        Returns
        -------
        float
            The share of rows whose label is right, at most 1.
        """
        labels = self.get_fitted_state().labels(X, offset)
        return float(accuracy_score(to_host(y), labels, sample_weight=to_host(sample_weight)))
