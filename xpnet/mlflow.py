"""Estimators in MLflow: logged as xpnet's own model files, without a pickle and a list of types."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import TYPE_CHECKING, TypeAlias

import xpnet
from xpnet.errors import InputError
from xpnet.estimators import MLPClassifier, MLPRegressor
from xpnet.models import Network
from xpnet.tabular import TabularClassifier, TabularRegressor
from xpnet.typing import ArrayLike

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

Estimator: TypeAlias = MLPClassifier | MLPRegressor | TabularClassifier | TabularRegressor
"""An estimator whose fits are logged."""

__all__ = ["autolog", "load_model", "log_model"]

KINDS = (MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor)
FILE = "model.safetensors"
"""Name of the model file among the artifacts."""
PREDICT_METHODS = ("predict", "predict_proba")
"""Methods that a served model may call."""
SCORED = ("X", "y", "sample_weight", "exposure", "offset")
"""Arguments that both ``fit`` and ``score`` take."""
METRICS_AT_ONCE = 1000
"""Maximum number of metrics in one request, which MLflow's servers set."""


def log_model(
    model: object, name: str = "model", *, pyfunc_predict_fn: str = "predict", **options: object
) -> "ModelInfo":
    """Log a fitted estimator or network to MLflow's active run.

    A model of xpnet's is logged as its safetensors file, which holds no code. A pipeline or a
    search of scikit-learn is logged by ``mlflow.sklearn``, with trust in xpnet's types alone.

    Parameters
    ----------
    model : Network, estimator of xpnet's, or scikit-learn's estimator around one
        The model.
    name : str, default "model"
        The name of the logged model.
    pyfunc_predict_fn : {"predict", "predict_proba"}, default "predict"
        The method that a served model calls.
    **options : object
        Further arguments of ``mlflow.pyfunc.log_model``, of pipelines ``mlflow.sklearn.log_model``,
        such as ``input_example``, from which MLflow learns the columns, and
        ``registered_model_name``. ``pip_requirements`` is ``["xpnet"]`` unless it is passed.

    Returns
    -------
    mlflow.models.model.ModelInfo
        What MLflow has logged; its ``model_uri`` is for `load_model`.

    Raises
    ------
    InputError
        For another method, and for a model that a file cannot hold.

    Examples
    --------
    >>> import xpnet.mlflow
    >>> info = xpnet.mlflow.log_model(classifier, name="digits")  # doctest: +SKIP
    >>> xpnet.mlflow.load_model(info.model_uri).predict(X)  # doctest: +SKIP
    """
    if pyfunc_predict_fn not in PREDICT_METHODS:
        raise InputError(
            f"`pyfunc_predict_fn` must be {' or '.join(map(repr, PREDICT_METHODS))}; got "
            f"{pyfunc_predict_fn!r}."
        )
    options = {"pip_requirements": ["xpnet"], **options}
    if not (isinstance(model, Network) or type(model) in KINDS):
        return _log_around(model, name, pyfunc_predict_fn, options)
    import mlflow.pyfunc

    if pyfunc_predict_fn != "predict":
        options["model_config"] = {"predict": pyfunc_predict_fn}
    with TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        xpnet.save(model, path)
        return mlflow.pyfunc.log_model(
            name=name,
            loader_module=__name__,
            data_path=str(path),
            **options,
        )


def load_model(model_uri: str) -> Network | Estimator:
    """Load a model that `log_model` or `autolog` has logged.

    Parameters
    ----------
    model_uri : str
        The address of the model, such as ``models:/digits/1`` or ``info.model_uri``.

    Returns
    -------
    Network or estimator
        The model, which predicts what the logged one has predicted.

    Examples
    --------
    >>> import xpnet.mlflow
    >>> model = xpnet.mlflow.load_model("models:/digits/1")  # doctest: +SKIP
    """
    import mlflow.models
    import mlflow.pyfunc

    if "sklearn" in mlflow.models.get_model_info(model_uri).flavors:
        import mlflow.sklearn

        return mlflow.sklearn.load_model(model_uri)
    return mlflow.pyfunc.load_model(model_uri).get_raw_model()


def autolog(*, log_models: bool = True, disable: bool = False, silent: bool = False) -> None:
    """Log each later ``fit`` of an estimator of xpnet's to MLflow.

    A fit is logged to the active run, or to one of its own, with the parameters, the losses of each
    epoch (``loss`` and ``validation_loss``), the score on the training rows (``training_score``),
    the tags ``estimator_name`` and ``why``, and the model.

    Parameters
    ----------
    log_models : bool, default True
        Whether models are logged, as by `log_model`.
    disable : bool, default False
        Whether to end the logging.
    silent : bool, default False
        Whether MLflow's messages and warnings about the logging are left out.

    Examples
    --------
    >>> import xpnet.mlflow
    >>> xpnet.mlflow.autolog()  # doctest: +SKIP
    >>> xpnet.TabularClassifier().fit(frame, labels)  # doctest: +SKIP
    """
    _integration()(log_models=log_models, disable=disable, silent=silent)


class _Served:
    """A model as MLflow serves it. predict_method : the method that it calls"""

    def __init__(self, model: object, predict_method: str) -> None:
        self._model = model
        self._predict: Callable[[object], ArrayLike] = getattr(model, predict_method)

    def predict(self, model_input: object, params: object = None) -> ArrayLike:
        """Return predictions for rows, such as a data frame of pandas."""
        return self._predict(model_input)

    def get_raw_model(self) -> object:
        """Return the model itself."""
        return self._model


def _load_pyfunc(path: str, model_config: dict[str, str] | None = None) -> _Served:
    """Return the model of a file: MLflow calls this function of a loader module by its name."""
    return _Served(xpnet.load(path), (model_config or {}).get("predict", "predict"))


def _log_around(
    model: object, name: str, predict_method: str, options: dict[str, object]
) -> "ModelInfo":
    """Log an estimator of scikit-learn, which may contain estimators of xpnet's."""
    import mlflow.sklearn
    import skops.io

    untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    own = [kind for kind in untrusted if kind.startswith("xpnet.")]
    return mlflow.sklearn.log_model(
        model, name=name, skops_trusted_types=own, pyfunc_predict_fn=predict_method, **options
    )


@cache
def _integration() -> Callable[..., None]:
    """Return the function by which MLflow enables the logging of this package."""
    from mlflow.utils.autologging_utils import autologging_integration, safe_patch

    @autologging_integration("xpnet")
    def enable(log_models: bool = True, disable: bool = False, silent: bool = False) -> None:
        """Let each fit be logged."""

        def fit(
            original: Callable[..., object],
            estimator: Estimator,
            *args: object,
            **arguments: object,
        ) -> object:
            """Fit, and log it."""
            fitted = original(estimator, *args, **arguments)
            _log_fit(estimator, args, arguments)
            if log_models:
                log_model(estimator)
            return fitted

        for kind in KINDS:
            safe_patch("xpnet", kind, "fit", fit, manage_run=True)

    return enable  # type: ignore[no-any-return]  # MLflow's functions have no types


def _log_fit(estimator: Estimator, args: tuple[object, ...], arguments: dict[str, object]) -> None:
    """Log what a fit had and what came out of it to the active run. args, arguments : of ``fit``"""
    import mlflow
    from mlflow.entities import Metric

    mlflow.log_params(estimator.get_params(deep=False))
    mlflow.set_tags({"estimator_name": type(estimator).__name__, "why": estimator.why_})
    run = mlflow.active_run()
    assert run is not None  # `manage_run` has started one
    now = round(1000 * time())
    metrics = [
        Metric(name.removesuffix("_curve_"), value, now, epoch)
        for name in ("loss_curve_", "validation_loss_curve_")
        for epoch, value in enumerate(getattr(estimator, name, []), 1)
    ]
    for start in range(0, len(metrics), METRICS_AT_ONCE):
        part = metrics[start : start + METRICS_AT_ONCE]
        mlflow.MlflowClient().log_batch(run.info.run_id, metrics=part)
    rows = dict(zip(("X", "y", "sample_weight"), args, strict=False)) | arguments
    scored = {name: rows[name] for name in SCORED if name in rows}
    mlflow.log_metric("training_score", estimator.score(**scored))  # type: ignore[arg-type]
