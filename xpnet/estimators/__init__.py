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
order; no function takes the estimator itself. The modules, in the order in which to read them:

- ``mlp``: the class that both estimators extend, with a fit from top to bottom;
  ``classifier``, ``regressor``: the estimators;
- ``parameters``: the parameters of the constructor; ``settings``: what a fit gets of them;
- ``rows``: the rows of a call, opened and checked; ``checks``: the checks of single arrays;
- ``fit``: a fit that is ready to train; ``placement``: where it computes; ``network_plan``: its
  network; ``initial``: the random generator and the first weights;
- ``stochastic``: training by epochs of minibatches; ``lbfgs``: training by L-BFGS;
- ``epochs``: an epoch as scikit-learn makes and measures it; ``learning_rate``: the learning rate
  of each epoch; ``stopping``: callbacks that end a fit; ``verbose``: the lines that are logged;
- ``record``: the counters and scores of a training; ``resume``: the checkpoints of fits that were
  cut off;
- ``fitted``: the record of a fit, and its parts under scikit-learn's names; ``outputs``: what the
  network computes for the rows of a call; ``predicted``: the estimator as scorers see it;
  ``inspection``: the parts of a prediction;
- ``warnings``: scikit-learn's warnings; ``conversion``: skl2onnx; ``display``: a plot of losses.

`xpnet.learning` holds what these estimators share with those of tables: targets, weights, losses,
the split for validation, and how attributes show the record of a fit.
"""

from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.display import LossCurveDisplay
from xpnet.estimators.regressor import MLPRegressor

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor"]
