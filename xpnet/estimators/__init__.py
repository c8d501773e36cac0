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

A fit is data: records that are each made once, and passed on. `MLP._train` makes them in this
order; no function takes the estimator itself.

``mlp``            the class that both estimators extend, with a fit: read it first
``classifier``     `MLPClassifier`
``regressor``      `MLPRegressor`
``parameters``     the parameters of the constructor
``settings``       what a fit gets of them
``rows``           the rows of a call, opened and checked
``checks``         the checks of single arrays
``fit``            a fit that is ready to train
``networks``       its network: where it computes, and what it begins with
``training``       training by epochs of minibatches, and by L-BFGS
``learning_rate``  the learning rate of each epoch
``record``         the counters and scores of a training
``fitted``         the record of a fit, and its parts under scikit-learn's names
``outputs``        what the network computes for the rows of a call
``views``          a fitted estimator as scorers, plots and skl2onnx look at it

`xpnet.learning` holds what these estimators share with those of tables: targets, weights, losses,
the split for validation, and how attributes show the record of a fit.
"""

from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.regressor import MLPRegressor
from xpnet.estimators.views.display import LossCurveDisplay

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor"]
