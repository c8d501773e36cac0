"""scikit-learn's contract on top: ``MLPClassifier`` and ``MLPRegressor`` for anyone who changes one import.

``parameters``  the constructor's parameters and what each may be
``placement``   where an estimator computes, and how arrays get there and back
``inputs``      data as a step takes it, validated as scikit-learn validates it
``initial``     the initial weights, drawn as scikit-learn draws them
``optimizer``   a training step with its state and learning rate
``epochs``      one epoch where the step's own does not do: weights, clipped gradients, sparse rows
``stopping``    what is noted after each epoch, and when training ends
``lbfgs``       training by L-BFGS
``forward``     predictions
``files``       save, load and export
``reports``     scikit-learn's callbacks
``display``     the loss curve as a picture
"""

from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.display import LossCurveDisplay
from xpnet.estimators.regressor import MLPRegressor

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor"]
