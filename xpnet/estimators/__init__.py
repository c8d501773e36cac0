"""scikit-learn's contract on top: ``MLPClassifier`` and ``MLPRegressor`` for anyone who changes one import.

With the same settings they find the same numbers, with these exceptions, all on purpose:

- the cross-entropy of a probability below the dtype's epsilon is what it is, where scikit-learn's is cut off;
- L-BFGS computes in float64 also for float32 data, where scikit-learn rounds at each evaluation;
- a warm-started fit with early stopping that scores no better keeps the best parameters of the fit before;
- a batch whose weights are all zero is passed over, where scikit-learn divides by zero;
- ``partial_fit`` takes validation rows, and does not exist for a regressor with L-BFGS.

``mlp``         a fit from top to bottom: read it first
``parameters``  the constructor's parameters and what each may be
``classifier``, ``regressor``  what targets and outputs mean
``inputs``      data as a step takes it: validated as scikit-learn does, agreed on among ranks
``epochs``      training by epochs: first weights, orders, learning rates, validation, when training ends, checkpoints
``lbfgs``       training by L-BFGS: the loss as a function of one vector
``streaming``   rows that are read block by block
``fitted``      the network that computes, and its parameters as scikit-learn names them
``inspection``  what predictions are made of
``libraries``   where scikit-learn's warnings, skl2onnx and matplotlib meet the estimators
"""

from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.inputs import fit_scaler
from xpnet.estimators.libraries import LossCurveDisplay
from xpnet.estimators.regressor import MLPRegressor

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor", "fit_scaler"]
