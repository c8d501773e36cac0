"""Each contender is trained with its defaults, and with the usual preparation of its inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

import numpy
import pandas
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from xpnet_bench.accuracy.tables import Split

MAX_CATEGORIES = 250
"""Maximum number of categories of HistGradientBoosting; columns with
more are numbers for boosting.
"""

MAX_SPLITS = 5
"""Maximum number of splits that a contender is trained on. Those that take ten times the CPU time
of the others have one, so that the suite takes two hours."""

FEW_TABLES = ("cancer", "concrete", "election", "cirrhosis", "pitches", "pigs", "cars", "rain")
"""Tables for a contender that takes long."""

LinearClassifier = partial(LogisticRegression, max_iter=1000)
LinearRegressor = partial(RidgeCV, numpy.logspace(-3, 3, 13))


def text_columns(frame: pandas.DataFrame) -> list[str]:
    """Names of the columns that are no numbers."""
    return [name for name in frame if frame[name].dtype.kind not in "iuf"]


def as_text(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Text as one type, missing text as a value."""
    columns = {name: frame[name].astype(object) for name in text_columns(frame)}
    return frame.assign(
        **{name: column.where(column.notna(), "").astype(str) for name, column in columns.items()}
    )


class Categories(TransformerMixin, BaseEstimator):
    """Text as pandas' categories, those of the training rows; of many categories, their numbers."""

    def fit(self, X: pandas.DataFrame, y: Any = None) -> "Categories":
        self.categories_ = {name: X[name].dropna().unique() for name in text_columns(X)}
        return self

    def transform(self, X: pandas.DataFrame) -> pandas.DataFrame:
        columns = {}
        for name, categories in self.categories_.items():
            seen = X[name].where(X[name].isin(categories))
            column = pandas.Series(pandas.Categorical(seen, categories), X.index)
            is_small = len(categories) <= MAX_CATEGORIES
            columns[name] = column if is_small else column.cat.codes.astype(float)
        return X.assign(**columns)


def text_prepared() -> FunctionTransformer:
    """For what encodes text itself and takes missing numbers."""
    return FunctionTransformer(as_text)


def imputed() -> Pipeline:
    """For what encodes text itself, without missing numbers."""
    numbers = (
        SimpleImputer(keep_empty_features=True),
        make_column_selector(dtype_include="number"),
    )
    filled = ColumnTransformer(
        [("numbers", *numbers)], remainder="passthrough", verbose_feature_names_out=False
    )
    return make_pipeline(text_prepared(), filled.set_output(transform="pandas"))


def one_hot() -> Pipeline:
    """For what takes numbers alone: standardized numbers, and a column for each category."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    words = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (words, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(text_prepared(), columns)


@dataclass(frozen=True)
class Learner:
    """A contender on tables.

    package : that must be installed
    estimator : ``module:class``; ``{}`` stands for ``Classifier`` or ``Regressor``
    prepare : makes the transformer that its columns need
    settings : of its constructor, where one thread or silence is asked for, or what makes it
        another contender
    seed : the name of its seed
    text : the argument of ``fit`` that takes the names of text columns
    max_splits : maximum number of splits that it is trained on
    tables : those that it is trained on; none for all
    slow : whether a quick run leaves it out
    """

    package: str
    estimator: str
    prepare: Callable[[], Any] = FunctionTransformer
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: str = "random_state"
    text: str = ""
    max_splits: int = MAX_SPLITS
    tables: tuple[str, ...] = ()
    slow: bool = False

    def fit(self, split: Split, seed: int) -> Pipeline:
        """Train on the training rows of a split."""
        kind = "Classifier" if split.task == "classification" else "Regressor"
        seeded = {self.seed: seed} if self.seed else {}
        estimator = resolve_name(self.estimator.format(kind))(**self.settings, **seeded)
        arguments = {f"estimator__{self.text}": text_columns(split.X)} if self.text else {}
        steps = [("columns", self.prepare()), ("estimator", estimator)]
        return Pipeline(steps).fit(split.X, split.y, **arguments)

    def takes_part(self, table: str, seed: int) -> bool:
        """Return whether it is trained on a split of a table."""
        return seed < self.max_splits and (not self.tables or table in self.tables)


def predict(model: Pipeline, X: pandas.DataFrame) -> numpy.ndarray:
    """Probabilities (rows, classes), or numbers (rows,)."""
    classifies = hasattr(model, "predict_proba")
    return numpy.asarray(model.predict_proba(X) if classifies else model.predict(X)).squeeze()


def _quality(quality: int) -> Learner:
    settings = {"quality": quality}
    is_slow = quality > 3
    return Learner(
        "xpnet",
        "xpnet:Tabular{}",
        settings=settings,
        max_splits=1 if is_slow else MAX_SPLITS,
        slow=is_slow,
    )


SILENT_TORCH = {"device": "cpu", "n_threads": 1, "verbosity": 0}

CONTENDERS = {
    "xpnet": Learner("xpnet", "xpnet:Tabular{}"),
    **{f"xpnet quality {quality}": _quality(quality) for quality in (1, 2, 4, 5)},
    "linear": Learner("sklearn", f"{__name__}:Linear{{}}", one_hot, seed=""),
    "scikit-learn MLP": Learner(
        "sklearn", "sklearn.neural_network:MLP{}", one_hot, {"early_stopping": True}
    ),
    "HistGradientBoosting": Learner(
        "sklearn",
        "sklearn.ensemble:HistGradientBoosting{}",
        Categories,
        {"categorical_features": "from_dtype"},
    ),
    "LightGBM": Learner("lightgbm", "lightgbm:LGBM{}", Categories, {"verbose": -1, "n_jobs": 1}),
    "CatBoost": Learner(
        "catboost",
        "catboost:CatBoost{}",
        text_prepared,
        {"verbose": False, "thread_count": 1, "allow_writing_files": False},
        text="cat_features",
        max_splits=1,
    ),
    "ChimeraBoost": Learner(
        "chimeraboost",
        "chimeraboost:ChimeraBoost{}",
        text_prepared,
        {"thread_count": 1},
        text="cat_features",
    ),
    "TabM": Learner(
        "pytabkit",
        "pytabkit:TabM_D_{}",
        imputed,
        SILENT_TORCH,
        text="cat_col_names",
        max_splits=1,
        slow=True,
    ),
    "RealMLP": Learner(
        "pytabkit",
        "pytabkit:RealMLP_TD_{}",
        imputed,
        SILENT_TORCH,
        text="cat_col_names",
        max_splits=1,
        tables=FEW_TABLES,
        slow=True,
    ),
}
"""The contenders by name. ``xpnet`` is the default, ``quality=3``."""


def installed() -> list[str]:
    """The contenders whose packages are installed."""
    return [name for name, learner in CONTENDERS.items() if find_spec(learner.package) is not None]
