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
    if job.data == "digits":
        return _digits(job)
    sizes, rng = job.sizes, numpy.random.default_rng(SEED)
    centres = _normal(rng, (sizes["classes"], sizes["features"]), job.dtype)
    y = rng.integers(0, sizes["classes"], sizes["rows"])
    noise = _normal(rng, (sizes["rows"], sizes["features"]), job.dtype)
    noise += centres[y] * numpy.asarray(0.3, job.dtype)
    return Rows(noise, y)


def _digits(job: Job) -> Rows:
    """Read without importing scikit-learn, whose thread pools would join the contender's."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None and spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    table = numpy.loadtxt(path, delimiter=",")[: job.sizes["rows"]]
    return Rows(table[:, :-1].astype(job.dtype), table[:, -1].astype(numpy.int64))


def row_weights(job: Job) -> numpy.ndarray:
    """Return a weight for each training row, between one half and three
    halves, in the job's dtype.
    """
    return numpy.random.default_rng(SEED + 2).uniform(0.5, 1.5, job.sizes["rows"]).astype(job.dtype)


def training_and_test(job: Job) -> tuple[Rows, Rows]:
    """The rows to learn from and those to be judged by: the last ones of the data file, or of
    made-up images.
    """
    X, y = _from_file(job.data) if job.data else _images(job)
    test = job.sizes["test"]
    X = X.astype(job.dtype) / numpy.asarray(WHITE, job.dtype)
    return Rows(X[:-test], y[:-test]), Rows(X[-test:], y[-test:])


def check_file(path: str) -> None:
    """Raise InputError unless the file holds MNIST-shaped rows."""
    _from_file(path)


def _from_file(path: str) -> tuple[numpy.ndarray, numpy.ndarray]:
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
    return X, y


def _images(job: Job) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Made-up digits: each class has several prototypes, and a row is one of them, scaled, with
    noise, clipped.
    """
    sizes, rng, prototypes = job.sizes, numpy.random.default_rng(SEED), 8
    count = sizes["rows"] + sizes["test"]
    y = rng.integers(0, sizes["classes"], count)
    base = rng.random((sizes["classes"] * prototypes, sizes["features"]), dtype=numpy.float32)
    X = base[y * prototypes + rng.integers(0, prototypes, count)]
    X *= rng.uniform(0.6, 1.0, (count, 1)).astype(numpy.float32)
    X += 0.44 * rng.standard_normal(X.shape, dtype=numpy.float32)
    return (numpy.clip(X, 0, 1) * WHITE).astype(numpy.uint8), y
