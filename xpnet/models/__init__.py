"""The two models: logistic regression and the feed-forward network."""

from xpnet.models.feedforward import FeedforwardNeuralNet
from xpnet.models.logistic import LogisticRegression
from xpnet.models.network import Network
from xpnet.models.xavier import xavier_init

__all__ = ["FeedforwardNeuralNet", "LogisticRegression", "Network", "xavier_init"]
