"""
Speed against size
==================

One epoch of Adam over 2,000 rows of 64 features, batches of 100, by the number of hidden units:
scikit-learn's MLPClassifier and xpnet's, measured when this page was built, on the machine that
built it. The :doc:`benchmark report </benchmarks>` has careful measurements; this picture shows
where each method's fixed costs end.
"""

import warnings
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import xpnet

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed on purpose

rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 64)).astype("float32")
y = rng.integers(0, 10, 2000)
sizes = [8, 16, 32, 64, 128, 256, 512]


def seconds_per_epoch(estimator, epochs=3):
    """The best of three fits, divided by the epochs."""
    times = []
    for _ in range(3):
        begin = perf_counter()
        estimator.fit(X, y)
        times.append(perf_counter() - begin)
    return min(times) / epochs


settings = {"batch_size": 100, "max_iter": 3, "tol": 0, "n_iter_no_change": 3, "random_state": 0}
fig, ax = plt.subplots(figsize=(6.5, 4))
for name, make in {"scikit-learn": MLPClassifier, "xpnet": xpnet.MLPClassifier}.items():
    ax.loglog(
        sizes,
        [seconds_per_epoch(make((size,), **settings)) * 1e3 for size in sizes],
        "o-",
        label=name,
    )
ax.set(xlabel="hidden units", ylabel="milliseconds an epoch")
ax.grid(alpha=0.3, which="both")
ax.legend()
plt.show()
