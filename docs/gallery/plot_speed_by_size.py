"""
Speed against size
==================

One epoch of Adam over 2,000 rows of 64 features, batches of 100, by the number of hidden units:
scikit-learn's MLPClassifier and xpnet's, in CPU time on one thread, measured when this page was
built. The two take turns, nine rounds each: the lines are the medians, and the bands hold the
middle half. The :doc:`benchmark report </benchmarks>` has careful measurements; this picture shows
where each method's fixed costs end.
"""

import warnings
from time import process_time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

import xpnet

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed on purpose

rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 64)).astype("float32")
y = rng.integers(0, 10, 2000)
sizes = [8, 16, 32, 64, 128, 256, 512]


def milliseconds_per_epoch(estimator, epochs=3):
    """The CPU time of a fit, divided by the epochs."""
    begin = process_time()
    estimator.fit(X, y)
    return 1e3 * (process_time() - begin) / epochs


settings = {"batch_size": 100, "max_iter": 3, "tol": 0, "n_iter_no_change": 3, "random_state": 0}
kinds = {"scikit-learn": MLPClassifier, "xpnet": xpnet.MLPClassifier}
measured = {name: [[] for _ in sizes] for name in kinds}
threads = xpnet.get_threads()
xpnet.set_threads(1)
with threadpool_limits(1):
    for round_number in range(10):
        for place, size in enumerate(sizes):
            for name, make in kinds.items():
                time = milliseconds_per_epoch(make((size,), **settings))
                if round_number:  # the first one warms up
                    measured[name][place].append(time)
xpnet.set_threads(threads)

fig, ax = plt.subplots(figsize=(6.5, 4))
for name, times in measured.items():
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75], axis=1)
    ax.loglog(sizes, middle, "o-", label=name)
    ax.fill_between(sizes, low, high, alpha=0.3)
ax.set(xlabel="hidden units", ylabel="CPU milliseconds an epoch")
ax.grid(alpha=0.3, which="both")
ax.legend()
plt.show()
