"""scikit-learn's contract on top: ``MLPClassifier`` and ``MLPRegressor`` for anyone who changes one
import.

With the same settings they find the same numbers, with these exceptions, all on purpose:

- the cross-entropy of a probability below the dtype's epsilon is what it is, where scikit-learn's
  is cut off;
- L-BFGS computes in float64 also for float32 data, where scikit-learn rounds at each evaluation;
- a warm-started fit with early stopping that scores no better keeps the best parameters of the fit
  before;
- a batch whose weights are all zero is passed over, where scikit-learn divides by zero;
- ``partial_fit`` takes validation rows, and does not exist for a regressor with L-BFGS.

``mlp``           a fit from top to bottom: read it first ``parameters``    the constructor's
parameters and what each may be ``classifier``, ``regressor``  what outputs mean; ``targets`` what
targets mean ``validation``    the arguments of ``fit``, validated as scikit-learn does ``initial``
the random generator and the first weights of a fit ``learning_rate`` the learning rate, epoch by
epoch ``epochs``        an epoch as scikit-learn makes and measures it; ``predicted`` what scorers
see ``stopping``      callbacks by which a fit ends; ``verbose`` the lines that are printed
``record``        the counters and scores of a training ``resume``        the checkpoints of fits
that were cut off ``lbfgs``         training by L-BFGS: the loss as a function of one vector
``fitted``        the network that computes, and its parameters as scikit-learn names them
``inspection``    what predictions are made of ``warnings``, ``conversion``, ``display``
scikit-learn's warnings, skl2onnx, and a plot of the losses
"""

from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.display import LossCurveDisplay
from xpnet.estimators.regressor import MLPRegressor

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor"]
