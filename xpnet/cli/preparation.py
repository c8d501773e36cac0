"""What stands between a file's columns and a network: kept with the model, so that a file is all that predict needs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy

from xpnet.data import Table
from xpnet.errors import InputError, ModelFileError

KEY = "preparation"


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

        with numpy.errstate(over="ignore", invalid="ignore"):  # told by ``inputs``
            scaler = StandardScaler().fit(X.astype(numpy.float64, copy=False))
        return cls(table.features, list(classes), table.target, scaler.mean_.tolist(), scaler.scale_.tolist())

    def inputs(self, X: numpy.ndarray, dtype: str) -> numpy.ndarray:
        """The network's inputs (rows, features) from the columns of a table (rows, features).

        Raises InputError where the values leave the range of ``dtype``.
        """
        with numpy.errstate(over="ignore", invalid="ignore"):
            if self.mean is not None and self.scale is not None:
                X = (X - numpy.asarray(self.mean)) / numpy.asarray(self.scale)
            inputs = X.astype(dtype, copy=False)
        if not numpy.isfinite(inputs).all():
            raise InputError(f"Every input must fit {dtype}; some are too large. Give the columns a larger unit.")
        return inputs

    def to_extra(self) -> dict[str, Any]:
        """The preparation as JSON values, for ``extra`` in the model file."""
        return {KEY: asdict(self)}

    @classmethod
    def from_extra(cls, extra: dict[str, Any], inputs: int, outputs: int) -> "Preparation":
        """The preparation in a model file; a file that was written without one takes and gives plain numbers.

        Raises ModelFileError where it is not one for a network of that many inputs and outputs.
        """
        if KEY not in extra:
            return cls(features=None, classes=list(range(outputs)))
        kept = extra[KEY]
        if not isinstance(kept, dict) or set(kept) != {field.name for field in fields(cls)}:
            raise ModelFileError(
                "A model file says how its inputs are prepared, or does not; this one says it by halves."
            )
        per_input = ((kept["features"], str), (kept["mean"], float), (kept["scale"], float))
        fits = _is_list(kept["classes"], (str, int), outputs) and isinstance(kept["target"], str | None)
        if not fits or not all(part is None or _is_list(part, kind, inputs) for part, kind in per_input):
            raise ModelFileError(
                f"A model file describes each of its {inputs} inputs and {outputs} outputs; this one does not. "
                "Train again."
            )
        return cls(**kept)


def _is_list(value: Any, kind: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(isinstance(item, kind) for item in value)
