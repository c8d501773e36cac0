"""
Decision boundaries by depth
============================

Without a hidden layer a classifier can only draw a straight line between two classes. One hidden
layer folds the line, since each ReLU unit adds one fold; a second layer folds the folds. Colours
are the predicted probability; circles and triangles are the two classes, and the titles say how
many of them lie on their side.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

import xpnet

X, y = make_moons(400, noise=0.22, random_state=0)
grid = np.stack(np.meshgrid(np.linspace(-2, 3, 200), np.linspace(-1.5, 2, 200)), axis=-1)

fig, axes = plt.subplots(1, 4, figsize=(11, 3), sharey=True)
for ax, hidden in zip(axes, [(), (4,), (32,), (32, 32)], strict=True):
    if hidden:
        model = xpnet.FeedforwardNeuralNet(
            2, hidden, 2, learning_rate=1e-2, optimizer="adam", rng=0
        )
    else:
        model = xpnet.LogisticRegression(2, 2, learning_rate=1e-2, optimizer="adam")
    model.fit(X, y, epochs=200, batch_size=40, rng=0)
    probability = model.predict(grid.reshape(-1, 2))[:, 1].reshape(200, 200)
    ax.contourf(grid[..., 0], grid[..., 1], probability, levels=20, cmap="RdBu_r", vmin=0, vmax=1)
    for label, marker, colour in [(0, "o", "#0a2f5c"), (1, "^", "#ffd23f")]:
        ax.scatter(
            *X[y == label].T, c=colour, marker=marker, s=14, edgecolor="white", linewidth=0.4
        )
    accuracy = (model.predict(X).argmax(axis=1) == y).mean()
    ax.set_title(f"hidden {hidden or 'none'}: {accuracy:.1%}", fontsize=10)
    ax.set(xticks=[], yticks=[])
plt.tight_layout()
plt.show()
