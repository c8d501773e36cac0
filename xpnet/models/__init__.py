"""The two models, logistic regression and the feed-forward network, and the training of many at
once.

``presets``     the two models
``network``     the network that they are made of: how it is trained
``placement``   the same on its backend; ``prediction``: its predictions
``saving``      models as files; ``files``: the hook by which they reach the room that writes these
``inputs``      arrays that come into a network, and the rules that these must hold
``many``        many networks, trained on the same arrays
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
