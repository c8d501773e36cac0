"""The numbers by which contenders are held to the same answer."""

import numpy

from xpnet_bench.jobs import Job, data


def sample(array: numpy.ndarray) -> list[float]:
    """Up to 24 entries spread over an array."""
    flat = numpy.asarray(array).reshape(-1)
    return [float(value) for value in flat[:: max(1, flat.size // 24)][:24]]


def training_loss(job: Job, probabilities: numpy.ndarray) -> list[float]:
    """The mean cross-entropy of a trained network on the first rows of its training data.

    probabilities : (rows, classes) for ``first_rows(job)``
    """
    y = data.rows(job).y[: len(probabilities)]
    right = numpy.asarray(probabilities, dtype=numpy.float64)[numpy.arange(len(y)), y]
    return [float(-numpy.log(numpy.maximum(right, 1e-30)).mean())]


def first_rows(job: Job) -> numpy.ndarray:
    """(up to 1000, features): what trained networks are judged on."""
    return data.rows(job).X[:1000]
