"""A floor bounds all contenders: for networks BLAS's matrix products alone, for elementwise kernels
a plain copy.

All outputs are allocated beforehand.
"""

import numpy

from xpnet_bench.contenders.contender import Contender, Task
from xpnet_bench.jobs import Job, data


class Floor(Contender):
    """The work that no contender can leave out."""

    def make_softmax(self, job: Job) -> Task:
        """Copy as many bytes as the kernel itself reads and writes."""
        source = numpy.zeros(job.traffic // 2, dtype=numpy.uint8)
        source += 1  # touched, so that each page exists
        target = source.copy()
        return Task(lambda: numpy.copyto(target, source))

    make_cross_entropy = make_relu = make_adam = make_softmax

    def make_train(self, job: Job) -> Task:
        """Compute the five products of each update, on arrays of a batch's shape."""
        W1, _, W2, _ = data.weights(job)
        X = data.rows(job).X[: job.sizes["batch"]].copy()
        hidden, logits = X @ W1, X @ W1 @ W2
        d_W1, d_W2 = numpy.empty_like(W1), numpy.empty_like(W2)

        def call() -> None:
            for _ in range(job.units):
                numpy.matmul(X, W1, out=hidden)
                numpy.matmul(hidden, W2, out=logits)
                numpy.matmul(hidden.T, logits, out=d_W2)
                numpy.matmul(logits, W2.T, out=hidden)
                numpy.matmul(X.T, hidden, out=d_W1)

        return Task(call)

    def make_predict(self, job: Job) -> Task:
        """Compute the two products forward."""
        W1, _, W2, _ = data.weights(job)
        X = data.rows(job).X
        hidden = X @ W1
        logits = hidden @ W2

        def call() -> None:
            numpy.matmul(X, W1, out=hidden)
            numpy.matmul(hidden, W2, out=logits)

        return Task(call)
