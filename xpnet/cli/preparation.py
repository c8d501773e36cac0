"""What stands between a file's columns and a network: kept with the model, so that a file is all that predict needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from xpnet.data import Table
from xpnet.errors import InputError, ModelFileError


@dataclass(frozen=True)
class Preparation:
    """How columns become inputs, and outputs become labels.

    features : names of the columns, in the order of the network's inputs; None where no file was trained on
    classes : the labels, in the order of the network's outputs
    target : the labels' column, or None
    mean, scale : (features,) float64; inputs are (x - mean) / scale; None for inputs as they are
    """

    features: list[str] | None
    classes: list[Any]
    target: str | None = None
    mean: list[float] | None = None
    scale: list[float] | None = None

    @classmethod
    def fitted(cls, table: Table, X: numpy.ndarray, classes: Sequence[Any], *, scaled: bool) -> "Preparation":
        """The preparation for a table, scaled by the rows X (rows, features) that a network will be trained on."""
        if not scaled:
            return cls(table.features, list(classes), table.target)
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(X.astype(numpy.float64, copy=False))
        return cls(table.features, list(classes), table.target, scaler.mean_.tolist(), scaler.scale_.tolist())

    def inputs(self, X: numpy.ndarray, dtype: str) -> numpy.ndarray:
        """The network's inputs (rows, features) from the columns of a table (rows, features).

        Raises InputError where the values leave the range of ``dtype``.
        """
        if self.mean is not None and self.scale is not None:
            X = (X - numpy.asarray(self.mean)) / numpy.asarray(self.scale)
        with numpy.errstate(over="ignore"):
            inputs = X.astype(dtype, copy=False)
        if not numpy.isfinite(inputs).all():
            raise InputError(
                f"Every input must fit {dtype}; some are too large. Train with --scale and --dtype float64."
            )
        return inputs

    def to_extra(self) -> dict[str, Any]:
        """The preparation as JSON values, for the model file."""
        scaling = None if self.mean is None else {"mean": self.mean, "scale": self.scale}
        return {"features": self.features, "classes": self.classes, "target": self.target, "scaling": scaling}

    @classmethod
    def from_extra(cls, extra: dict[str, Any], inputs: int, outputs: int) -> "Preparation":
        """The preparation in a model file; a file that was written without one takes and gives plain numbers.

        Raises ModelFileError where it is not one for a network of that many inputs and outputs.
        """
        classes = extra.get("classes") or list(range(outputs))
        scaling = extra.get("scaling") or {}
        found = cls(extra.get("features"), classes, extra.get("target"), scaling.get("mean"), scaling.get("scale"))
        per_input = [part for part in (found.features, found.mean, found.scale) if part is not None]
        if len(classes) != outputs or any(len(part) != inputs for part in per_input):
            raise ModelFileError(
                f"A model file describes each of its {inputs} inputs and {outputs} outputs; this one does not. "
                "Train again."
            )
        return found
