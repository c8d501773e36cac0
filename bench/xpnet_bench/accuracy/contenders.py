"""Each contender is trained with its defaults, and with the usual preparation of its inputs."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy
import pandas
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import xpnet
from xpnet_bench.accuracy.tables import Split

Contender = Callable[[Split, int], numpy.ndarray]
"""Trains on a split with a seed; returns probabilities (rows, classes) or numbers (rows,) for its
test rows.
"""

MAX_CATEGORIES = 250
"""Maximum number of categories of HistGradientBoosting; columns with
more are numbers for boosting.
"""


def _fitted(model: Any, split: Split, X: Any, X_test: Any) -> numpy.ndarray:
    model.fit(X, split.y)
    return numpy.asarray(
        model.predict_proba(X_test) if split.task == "classification" else model.predict(X_test)
    ).squeeze()


def _xpnet(split: Split, seed: int) -> numpy.ndarray:
    kind = xpnet.TabularClassifier if split.task == "classification" else xpnet.TabularRegressor
    return _fitted(kind(random_state=seed), split, split.X, split.X_test)


def _prepared(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Text as one type, missing text as a value."""
    text = [name for name in frame if frame[name].dtype.kind not in "iuf"]
    return frame.assign(
        **{
            name: frame[name].astype(object).where(frame[name].notna(), "").astype(str)
            for name in text
        }
    )


def _with_preparation(model: Any, split: Split) -> numpy.ndarray:
    numbers = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    words = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (words, make_column_selector(dtype_exclude="number")),
    )
    return _fitted(
        make_pipeline(columns, model), split, _prepared(split.X), _prepared(split.X_test)
    )


def _linear(split: Split, seed: int) -> numpy.ndarray:
    logistic, ridge = LogisticRegression(max_iter=1000), RidgeCV(numpy.logspace(-3, 3, 13))
    return _with_preparation(logistic if split.task == "classification" else ridge, split)


def _scikit_learn_mlp(split: Split, seed: int) -> numpy.ndarray:
    kind = MLPClassifier if split.task == "classification" else MLPRegressor
    return _with_preparation(kind(early_stopping=True, random_state=seed), split)


def _categories(split: Split) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Text as pandas' categories, the same ones in both parts."""
    both = pandas.concat([split.X, split.X_test])
    for name in [name for name in both if both[name].dtype.kind not in "iufb"]:
        kind = both[name].astype("category")
        both[name] = (
            kind if len(kind.cat.categories) <= MAX_CATEGORIES else kind.cat.codes.astype(float)
        )
    return both.iloc[: len(split.X)], both.iloc[len(split.X) :]


def _hist_gradient_boosting(split: Split, seed: int) -> numpy.ndarray:
    classifies = split.task == "classification"
    kind = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    return _fitted(
        kind(categorical_features="from_dtype", random_state=seed), split, *_categories(split)
    )


def _lightgbm(split: Split, seed: int) -> numpy.ndarray:
    import lightgbm

    kind = lightgbm.LGBMClassifier if split.task == "classification" else lightgbm.LGBMRegressor
    return _fitted(kind(verbose=-1, n_jobs=1, random_state=seed), split, *_categories(split))


def _catboost(split: Split, seed: int) -> numpy.ndarray:
    import catboost

    X, X_test = _prepared(split.X), _prepared(split.X_test)
    words = [name for name in X if X[name].dtype.kind not in "iuf"]
    kind = (
        catboost.CatBoostClassifier
        if split.task == "classification"
        else catboost.CatBoostRegressor
    )
    model = kind(
        verbose=False,
        thread_count=1,
        random_seed=seed,
        cat_features=words,
        allow_writing_files=False,
    )
    return _fitted(model, split, X, X_test)


def _tabm(split: Split, seed: int) -> numpy.ndarray:
    from xpnet_bench.accuracy.tabm_on_torch import train_tabm

    words = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1
    )
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (words, make_column_selector(dtype_exclude="number")),
        sparse_threshold=0,
    )
    X = columns.fit_transform(_prepared(split.X))
    numbers = len(columns.transformers_[0][2])
    return train_tabm(split, X, columns.transform(_prepared(split.X_test)), numbers, seed)


CONTENDERS: dict[str, tuple[str, Contender]] = {
    "xpnet": ("xpnet", _xpnet),
    "linear": ("sklearn", _linear),
    "scikit-learn MLP": ("sklearn", _scikit_learn_mlp),
    "HistGradientBoosting": ("sklearn", _hist_gradient_boosting),
    "LightGBM": ("lightgbm", _lightgbm),
    "CatBoost": ("catboost", _catboost),
    "TabM": ("tabm", _tabm),
}
"""The package that each contender needs, and how it is trained."""


def installed() -> list[str]:
    """The contenders whose packages are installed."""
    return [name for name, (package, _) in CONTENDERS.items() if find_spec(package) is not None]
