"""Scikit-learn's base classes, with types, which scikit-learn lacks; and fits within a fit."""

import inspect
from typing import TYPE_CHECKING, Any, Self

from xpnet.typing import ArrayLike

if TYPE_CHECKING:
    import numpy
    import sklearn.utils
    import sklearn.utils.metadata_routing

    class BaseEstimator:
        """Parameters, tags and metadata routing of an estimator."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Return the parameters by name."""

        def set_params(self, **params: object) -> Self:
            """Change parameters by name; return the estimator."""

        def get_metadata_routing(self) -> sklearn.utils.metadata_routing.MetadataRequest:
            """Return which methods ask for which arguments."""

        def set_fit_request(self, **requested: bool | str | None) -> Self:
            """Choose the arguments that ``fit`` asks for where it is called by another object."""

        def set_partial_fit_request(self, **requested: bool | str | None) -> Self:
            """Choose the arguments that ``partial_fit`` asks for."""

        def set_score_request(self, **requested: bool | str | None) -> Self:
            """Choose the arguments that ``score`` asks for."""

        def __sklearn_tags__(self) -> sklearn.utils.Tags: ...

        def __getstate__(self) -> dict[str, object]: ...

        def __setstate__(self, state: dict[str, object]) -> None: ...

        def _validate_params(self) -> None: ...

    class ClassifierMixin:
        """Makes an estimator a classifier."""

        def score(
            self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
        ) -> float:
            """Return the accuracy."""

    class RegressorMixin:
        """Makes an estimator a regressor."""

        def score(
            self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
        ) -> float:
            """Return the coefficient of determination."""

    class TransformerMixin:
        """Makes an estimator transform rows."""

        def fit_transform(self, *args: Any, **fit_params: Any) -> Any:
            """Fit, then transform the same rows."""

        def set_output(self, *, transform: str | None = None) -> Self:
            """Choose what ``transform`` returns: ``"default"``, ``"pandas"`` or ``"polars"``."""

    class ClassNamePrefixFeaturesOutMixin:
        """Names of the outputs, from the name of the class."""

        def get_feature_names_out(self, input_features: ArrayLike | None = None) -> numpy.ndarray:
            """Return the names of the columns that ``transform`` returns."""

    class OneToOneFeatureMixin:
        """Names of the outputs, those of the inputs."""

        def get_feature_names_out(
            self: Any, input_features: ArrayLike | None = None
        ) -> numpy.ndarray:
            """Return the names of the columns that ``transform`` returns."""

else:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        OneToOneFeatureMixin,
        RegressorMixin,
        TransformerMixin,
    )

__all__ = [
    "BaseEstimator",
    "ClassNamePrefixFeaturesOutMixin",
    "ClassifierMixin",
    "OneToOneFeatureMixin",
    "RegressorMixin",
    "TransformerMixin",
    "fit_unlogged",
]


def fit_unlogged(estimator: Any, *arguments: object, **options: object) -> Any:
    """Fit an estimator by the function that its class defines; return the estimator.

    Trackers of experiments, such as MLflow's autologging, replace the method ``fit`` of
    scikit-learn's classes by a wrapper that logs each fit. A fit within a fit would be logged as if
    the user had asked for it.
    """
    return inspect.unwrap(type(estimator).fit)(estimator, *arguments, **options)
