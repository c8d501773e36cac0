"""The attributes of a fitted tabular estimator, which show one frozen record."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, Self

import numpy

from xpnet.learning.fitted.record import HoldsFit
from xpnet.models import Network
from xpnet.tabular.fitted import FittedTable
from xpnet.tabular.importance import Shares


class FittedAttributes(HoldsFit[Any]):
    """An estimator that holds one `FittedTable`, whose parts are read-only attributes."""

    def get_fitted_state(self) -> Any:
        """Return all that the last ``fit`` has learned, as one frozen record.

        Returns
        -------
        FittedTable
            The record. A later ``fit`` replaces it and does not change it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        """
        return self._record_of_fit()

    def set_fitted_state(self, fitted: FittedTable) -> Self:
        """Replace all that ``fit`` has learned by a record of another estimator of this class.

        Parameters
        ----------
        fitted : FittedTable
            What `get_fitted_state` has returned.

        Returns
        -------
        Tabular
            The estimator itself.
        """
        self._fitted = fitted
        return self

    def _attribute(self, name: str) -> Any:
        """Return a part of the record. Raises AttributeError before ``fit``, for ``hasattr``."""
        return getattr(self._record_showing(f"{name}_"), name)

    @property
    def encoder_(self) -> Any:
        """Return the fitted encoder; its ``left_out_`` says which columns are not used, and why."""
        return self._attribute("encoder")

    @property
    def networks_(self) -> list[Network]:
        """Return the networks."""
        return self._attribute("networks")

    @property
    def best_epochs_(self) -> list[int]:
        """Return the epoch that each network kept."""
        return self._attribute("best_epochs")

    @property
    def n_iter_(self) -> int:
        """Return the largest number of epochs that a network made."""
        return self._attribute("n_iter")

    @property
    def loss_curve_(self) -> list[float]:
        """Return the training loss of each epoch, the mean of the networks that made it."""
        return self._mean_curve("loss")

    @property
    def validation_loss_curve_(self) -> list[float]:
        """Return the validation loss of each epoch, the mean of the networks that made it."""
        return self._mean_curve("validation_loss")

    @property
    def validation_loss_(self) -> float:
        """Return the mean loss of validation rows by choices of other validation rows."""
        loss = self._attribute("validation_loss")
        if loss is None:
            raise AttributeError(
                "validation_loss_ must come from validation rows; the fit of this model had none. "
                "Fit with a validation_fraction above 0, or with X_val and y_val."
            )
        return loss

    def _mean_curve(self, name: str) -> list[float]:
        """Return the mean of the networks' losses by epoch. name : of the list in a history

        Raises AttributeError where no network has such losses.
        """
        curves = [getattr(network.history, name) for network in self._attribute("networks")]
        epochs = max(map(len, curves))
        if not epochs:
            raise AttributeError(
                f"{name}_curve_ is known after fit alone, since no file holds it; this model has "
                "none. Fit the model."
            )
        return [
            fmean(curve[epoch] for curve in curves if epoch < len(curve)) for epoch in range(epochs)
        ]

    @property
    def why_(self) -> str:
        """Return what was trained, with which backend, and why."""
        return self._attribute("why")

    @property
    def feature_importances_(self) -> numpy.ndarray:
        """Return how much the predictions need each column: (columns,), not negative, sum 1."""
        return self._importances("feature_importances_").values.copy()

    @property
    def feature_importances_std_(self) -> numpy.ndarray:
        """Return the standard errors of the importances: (columns,)."""
        errors = self._importances("feature_importances_std_").errors
        if errors is None:
            raise AttributeError(
                "feature_importances_std_ must be in the model file; this older one has the "
                "importances alone. Fit the model again."
            )
        return errors.copy()

    def _importances(self, name: str) -> Shares:
        """Return the importances with their standard errors. name : of the attribute

        Raises AttributeError before ``fit``, and where they are not known.
        """
        importances = self._record_showing(name).importances
        if importances is None:
            raise AttributeError(
                f"{name} must be asked for before a model is saved, and its fit must "
                "have had validation rows in memory and a TableEncoder; this model has none. Use "
                "sklearn.inspection.permutation_importance, or xpnet explain."
            )
        return importances.shares()

    @property
    def notes_(self) -> list[str]:
        """Return sentences on what was left out, and on what is uncertain; no file holds them."""
        return list(self._attribute("notes"))

    @property
    def coef_(self) -> numpy.ndarray:
        """Return the coefficients of a linear model, of its encoded inputs."""
        return self._attribute("coef")

    @property
    def intercept_(self) -> numpy.ndarray | float:
        """Return the intercepts of a linear model."""
        return self._attribute("intercept")

    @property
    def n_features_in_(self) -> int:
        """Return the number of columns of the table."""
        return self._attribute("encoder").n_features_in_

    @property
    def feature_names_in_(self) -> numpy.ndarray:
        """Return the names of the columns, where all are text. Other names, or None, may be set."""
        return self._attribute("encoder").feature_names_in_

    @feature_names_in_.setter
    def feature_names_in_(self, names: Sequence[str] | numpy.ndarray | None) -> None:
        self._fitted = self.get_fitted_state().with_feature_names(names)
