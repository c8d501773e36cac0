"""What the command line kept beside a network before it wrote pipelines: names, labels, and how features are scaled."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy

from xpnet.backend import NetworkSpec
from xpnet.errors import ModelFileError

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
        fits = fits and (kept["mean"] is None) == (kept["scale"] is None) and 0 not in (kept["scale"] or ())
        if not fits or not all(part is None or _is_list(part, kind, inputs) for part, kind in per_input):
            raise ModelFileError(
                f"A model file describes each of its {inputs} inputs and {outputs} outputs; this one does not. "
                "Train again."
            )
        return cls(**kept)


def fold_scaling(extra: dict[str, Any], spec: NetworkSpec, tensors: dict[str, Any]) -> dict[str, Any]:
    """Make scaled inputs a part of the first layer: (x - m) / s W + b = x (W / s) + (b - m / s W).

    extra : of the file; tensors : the parameters; where there is a scaling they become float64, in which none of it is
    lost, and are changed in place
    returns the extra of a network that takes inputs as they are
    """
    try:
        kept = Preparation.from_extra(extra, spec.widths[0], spec.widths[-1])
    except ModelFileError:  # someone's own extra, under the same name
        return extra
    if kept.mean is None or kept.scale is None:
        return extra
    weight, bias = spec.parameter_names[:2]
    tensors |= {name: tensor.astype(numpy.float64) for name, tensor in tensors.items()}
    tensors[weight] /= numpy.asarray(kept.scale)[:, None]
    tensors[bias] -= numpy.asarray(kept.mean) @ tensors[weight]
    return {**extra, KEY: asdict(replace(kept, mean=None, scale=None))}


def _is_list(value: Any, kind: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(isinstance(item, kind) for item in value)
