"""
What the first layer looks for
==============================

Each unit of the first hidden layer has one weight for each pixel, so its weights are a picture: ink
increases the unit's input where the picture is red, and decreases it where the picture is blue.
With 8 by 8 pixels the picture is coarse: a few dark neighbouring cells are a stroke. The columns at
the left and right border, where hardly any image has ink, stay near their random start.

The build shows scikit-learn's small digits. With the 28 by 28 pixels of MNIST in a file
``mnist.npz`` (arrays ``X`` and ``y``), ``make docs MNIST=mnist.npz`` shows those.
"""

import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import xpnet

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed on purpose

if path := os.environ.get("MNIST"):
    with np.load(path) as data:
        X, y = data["X"][:20_000].astype("float32") / 255, data["y"][:20_000]
else:
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype("float32")

side = int(X.shape[1] ** 0.5)
classifier = xpnet.MLPClassifier(
    (32,), alpha=1e-3, max_iter=20, tol=0, n_iter_no_change=20, random_state=0
)
classifier.fit(X, y)

fig, axes = plt.subplots(4, 8, figsize=(8, 4.4))
weights = classifier.coefs_[0]
limit = np.quantile(np.abs(weights), 0.995)
for ax, unit in zip(axes.flat, weights.T, strict=True):
    ax.imshow(unit.reshape(side, side), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.axis("off")
fig.suptitle(
    f"{X.shape[0]} pictures of {side} by {side} pixels, accuracy {classifier.score(X, y):.1%} on "
    "them",
    fontsize=10,
)
plt.show()
