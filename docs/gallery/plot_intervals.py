"""
How sure is a predicted number?
===============================

:meth:`xpnet.TabularRegressor.predict_interval` returns the ends of an interval that holds a chosen
part of new targets, here nine in ten. The noise of these rows grows from left to right. With
``loss="quantile"`` and a level on both sides the width differs between rows; other losses give all
rows one width.
"""

import matplotlib.pyplot as plt
import numpy as np

import xpnet

rng = np.random.default_rng(0)
X = rng.uniform(0, 10, (1500, 1))
y = 3 * np.sin(X[:, 0]) + X[:, 0] + rng.normal(size=1500) * (0.2 + 0.15 * X[:, 0])

model = xpnet.TabularRegressor(
    quality=1, loss="quantile", quantile=[0.05, 0.5, 0.95], random_state=0
).fit(X[:1200], y[:1200])
grid = np.linspace(0, 10, 200)[:, None]
low, high = model.predict_interval(grid, 0.9).T

ends = model.predict_interval(X[1200:], 0.9)
inside = (ends[:, 0] <= y[1200:]) & (y[1200:] <= ends[:, 1])

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.fill_between(grid[:, 0], low, high, alpha=0.25, label="interval of 90 %")
ax.plot(grid[:, 0], model.predict(grid)[:, 1], label="median")
ax.plot(X[1200:, 0], y[1200:], "k.", markersize=3, label="new rows")
ax.set(xlabel="x", ylabel="y")
ax.set_title(f"{inside.mean():.0%} of the new rows lie in their interval", fontsize=10)
ax.legend()
plt.show()
