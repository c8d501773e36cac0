"""The two models, logistic regression and the feed-forward network, and the training of many at
once.
"""

from xpnet.models.many import fit_many
from xpnet.models.network import Network
from xpnet.models.presets import FeedforwardNeuralNet, LogisticRegression, xavier_init

__all__ = [
    "FeedforwardNeuralNet",
    "LogisticRegression",
    "Network",
    "fit_many",
    "xavier_init",
]
