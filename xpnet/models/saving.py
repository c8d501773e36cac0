"""Saving, for models and estimators of any kind."""

import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from xpnet.models.files import model_files


class Saved:
    """A model that can be written to files, with ``extra``, a dict of JSON values that files keep
    with it.
    """

    def __getstate__(self) -> dict[str, object]:
        _explain_to_skops(type(self))
        return super().__getstate__()  # type: ignore[return-value]

    @cached_property
    def extra(self) -> dict[str, Any]:
        """Return a dict of JSON values that is saved with the model, empty at first."""
        return {}

    def save(self, path: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write the model to a safetensors file, which ``xpnet.load`` opens on any backend.

        Parameters
        ----------
        path : str or Path
            The file; an existing one is replaced at once and whole.
        extra : dict of str to JSON values, optional
            What the file keeps with the model, such as names of columns and classes. None keeps the
            model's ``extra``.

        Raises
        ------
        InputError
            For parameters, labels or an ``extra`` that the file cannot hold.
        ModelFileError
            When the file cannot be written.
        sklearn.exceptions.NotFittedError
            For an estimator before ``fit``.

        See Also
        --------
        xpnet.load : Open the file.
        xpnet.Checkpoint : Write a training under way, with its optimizer and history.

        Notes
        -----
        The file holds parameters and settings: not the history of a network and not the optimizer's
        buffers. Equal models give equal files. A learning rate that follows a function of the
        user's own is kept as the number it has now, a RandomState as None; an estimator's
        ``backend`` is chosen again where the file is opened.

        Examples
        --------
        >>> import xpnet
        >>> xpnet.LogisticRegression(4, 3).save("iris.safetensors", {"unit": "cm"})
        >>> xpnet.load("iris.safetensors").extra
        {'unit': 'cm'}
        """
        model_files().save(self, path, extra)

    def export_onnx(self, path: str | Path) -> None:
        """Write the model as an ONNX file for other runtimes.

        The input is ``X`` (rows, features). A network gives ``probabilities`` (rows, classes), a
        classifier ``label`` (rows,), integers or strings (rows, classes where a row may have
        several labels), and ``probabilities``; a regressor ``predictions`` (rows, outputs).

        Parameters
        ----------
        path : str or Path
            The file; an existing one is replaced at once and whole.

        Raises
        ------
        InputError
            For labels that are neither integers nor strings.
        ModelFileError
            Where the package onnx is missing (``pip install 'xpnet[onnx]'``), or the file cannot be
            written.
        sklearn.exceptions.NotFittedError
            For an estimator before ``fit``.

        Examples
        --------
        >>> import xpnet
        >>> xpnet.LogisticRegression(4, 3).export_onnx("iris.onnx")
        """
        model_files().export_model(self, path)


def _explain_to_skops(kind: type) -> None:
    """Let skops, where it writes an object of a class, say which call opens it.

    MLflow's ``mlflow.sklearn.log_model`` writes by skops, and refuses types that the caller does
    not name.
    """
    exceptions = sys.modules.get("skops.io.exceptions")
    reasons = getattr(exceptions, "UNTRUSTED_TYPE_REASONS", None)  # of skops 0.16 and newer
    if isinstance(reasons, dict):
        name = f"{kind.__module__}.{kind.__qualname__}"
        reasons.setdefault(
            name,
            f"{name} is a model of xpnet. In MLflow, log it by "
            '`xpnet.mlflow.log_model(model, name="model")`, which needs no list of types. '
            "Elsewhere, save it by `model.save(path)` or trust the types of xpnet.",
        )
