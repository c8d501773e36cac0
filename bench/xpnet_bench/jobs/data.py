"""The arrays of a job. Each contender makes them from the same seed, so that all compute on the
same data.
"""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from xpnet import InputError, xavier_init
from xpnet_bench.jobs.job import Job, widths_of

SEED = 20
WHITE = 255


class Rows(NamedTuple):
    """X (rows, features) of the job's dtype and class indices y (rows,) int64."""

    X: numpy.ndarray
    y: numpy.ndarray


def _normal(rng: numpy.random.Generator, shape: tuple[int, ...], dtype: Any) -> numpy.ndarray:
    """Drawn in the dtype itself, which takes half the time for float32."""
    return rng.standard_normal(shape, dtype=dtype)


def logits(job: Job) -> numpy.ndarray:
    """(rows, classes), normal with standard deviation 3."""
    shape = job.sizes["rows"], job.sizes["classes"]
    return _normal(numpy.random.default_rng(SEED), shape, job.dtype) * numpy.asarray(3, job.dtype)


def labels(job: Job) -> numpy.ndarray:
    """Class indices (rows,) int64."""
    return numpy.random.default_rng(SEED + 1).integers(0, job.sizes["classes"], job.sizes["rows"])


def flat(job: Job, count: int) -> list[numpy.ndarray]:
    """``count`` arrays (size,), normal; from the third on squared, as second moments are."""
    rng = numpy.random.default_rng(SEED)
    arrays = [_normal(rng, (job.sizes["size"],), job.dtype) for _ in range(count)]
    return arrays[:3] + [array * array for array in arrays[3:]]


def weights(job: Job) -> list[numpy.ndarray]:
    """Weight (in, out) and bias (out,) of each layer: Xavier weights and zero biases."""
    rng, widths, arrays = numpy.random.default_rng(SEED), widths_of(job), []
    for shape in zip(widths, widths[1:], strict=False):
        arrays += [xavier_init(shape, rng), numpy.zeros(shape[1])]
    return [array.astype(job.dtype) for array in arrays]


def rows(job: Job) -> Rows:
    """The training rows of a job: scikit-learn's digits, or blobs around
    one centre for each class.
    """
    sizes, rng = job.sizes, numpy.random.default_rng(SEED)
    if job.data == "digits":
        X, y = _digits(job.dtype)
        return Rows(X[: sizes["rows"]], y[: sizes["rows"]])
    centres = _normal(rng, (sizes["classes"], sizes["features"]), job.dtype)
    y = rng.integers(0, sizes["classes"], sizes["rows"])
    noise = _normal(rng, (sizes["rows"], sizes["features"]), job.dtype)
    noise += centres[y] * numpy.asarray(0.3, job.dtype)
    return Rows(noise, y)


def _digits(dtype: str) -> Rows:
    """Read without importing scikit-learn, whose thread pools would join the contender's."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None and spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    table = numpy.loadtxt(path, delimiter=",")
    return Rows(table[:, :-1].astype(dtype), table[:, -1].astype(numpy.int64))


def row_weights(job: Job) -> numpy.ndarray:
    """Return a weight for each training row, between one half and three
    halves, in the job's dtype.
    """
    return numpy.random.default_rng(SEED + 2).uniform(0.5, 1.5, job.sizes["rows"]).astype(job.dtype)


def training_and_test(job: Job) -> tuple[Rows, Rows]:
    """The rows to learn from and those to be judged by: the last ones of the data file, or of
    scikit-learn's digits.
    """
    X, y = _digits(job.dtype) if job.data == "digits" else mnist(job.data, job.dtype)
    test = job.sizes["test"]
    return Rows(X[:-test], y[:-test]), Rows(X[-test:], y[-test:])


def mnist(path: str, dtype: str) -> Rows:
    """Read all rows of a data file; raises InputError for another file."""
    if not Path(path).is_file():
        raise InputError(
            f"--data must name an .npz file with arrays X and y; got {path}, which is no file."
        )
    with numpy.load(path) as arrays:
        if not {"X", "y"} <= set(arrays):
            raise InputError(
                f"The data file must hold arrays X and y; got {', '.join(arrays)} in {path}."
            )
        X, y = arrays["X"], arrays["y"].astype(numpy.int64)
    if X.dtype != numpy.uint8 or X.shape != (70_000, 784) or y.shape != (70_000,):
        raise InputError(
            "X must be uint8 (70000, 784) and y (70000,), the last 10000 rows for testing; "
            f"got {X.dtype} {X.shape} and {y.shape}."
        )
    return Rows(X.astype(dtype) / numpy.asarray(WHITE, dtype), y)
