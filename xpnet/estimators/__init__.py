"""scikit-learn's contract on top: ``MLPClassifier`` and ``MLPRegressor`` for anyone who changes one import.

With the same settings they find the same numbers, with these exceptions, all on purpose:

- the cross-entropy of a probability below the dtype's epsilon is what it is, where scikit-learn's is cut off;
- L-BFGS computes in float64 also for float32 data, where scikit-learn rounds at each evaluation;
- a warm-started fit with early stopping that scores no better keeps the best parameters of the fit before;
- a batch whose weights are all zero is passed over, where scikit-learn divides by zero;
- ``partial_fit`` takes validation rows, and does not exist for a regressor with L-BFGS.

``parameters``  the constructor's parameters and what each may be
``holding``     the network that computes, and its parameters as scikit-learn names them
``plain``       what is pickled: dicts, numbers and arrays
``inputs``      data as a step takes it, validated as scikit-learn validates it
``base``        fitting, from checked data to a network that is ready
``initial``     the initial weights and the orders of the rows, drawn as scikit-learn draws them
``solvers``     training by epochs, and by L-BFGS; ``streaming`` on rows that are read block by block
``rates``       the schedules of the learning rate
``epochs``      one epoch where the step's own does not do: weights, clipped gradients
``stopping``    what is noted after each epoch, and when training ends
``lbfgs``       the loss as a function of one vector
``ranks``       what ranks with rows of their own agree on; ``scaling`` the numbers that they scale by
``reports``     scikit-learn's callbacks; ``watching`` xpnet's own
``conversion``  what skl2onnx asks for
``display``     the loss curve as a picture
"""

from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.display import LossCurveDisplay
from xpnet.estimators.regressor import MLPRegressor
from xpnet.estimators.scaling import fit_scaler

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor", "fit_scaler"]
