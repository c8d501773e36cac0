"""
Loss curves by optimizer
========================

The same network with the same initial weights and batches, trained by five optimizers. Each
learning rate is the best of a few candidates, since optimizers need learning rates of different
magnitudes.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import xpnet
from xpnet.optimizers import SGD

X, y = load_digits(return_X_y=True)
X = X / 16
candidates = {
    "plain descent": (SGD(), [0.03, 0.1, 0.3]),
    "momentum 0.9": (SGD(momentum=0.9), [0.01, 0.03, 0.1]),
    "Nesterov 0.9": (SGD(momentum=0.9, nesterov=True), [0.01, 0.03, 0.1]),
    "Adam": ("adam", [1e-3, 3e-3, 1e-2]),
    "AdamW": (xpnet.AdamW(weight_decay=0.01), [1e-3, 3e-3, 1e-2]),
}


def train(optimizer, learning_rate):
    """The loss of each of 30 epochs."""
    model = xpnet.FeedforwardNeuralNet(
        64, 32, 10, learning_rate=learning_rate, optimizer=optimizer, rng=0
    )
    return model.fit(X, y, epochs=30, batch_size=64, rng=0).loss


fig, ax = plt.subplots(figsize=(7, 4))
for name, (optimizer, learning_rates) in candidates.items():
    curves = {learning_rate: train(optimizer, learning_rate) for learning_rate in learning_rates}
    best = min(curves, key=lambda learning_rate: curves[learning_rate][-1])
    ax.semilogy(curves[best], label=f"{name}, learning rate {best:g}")
ax.set(xlabel="epoch", ylabel="mean loss of the epoch")
ax.grid(alpha=0.3)
ax.legend()
plt.show()
