"""The two models: logistic regression and the feed-forward network."""

from xpnet.models.network import Network
from xpnet.models.presets import FeedforwardNeuralNet, LogisticRegression, xavier_init

__all__ = ["FeedforwardNeuralNet", "LogisticRegression", "Network", "xavier_init"]
