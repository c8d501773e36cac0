"""Tables: an encoder for frames of any library, and estimators that need no other preparation.

A fit is data: records that are each made once, and passed on. `Tabular.fit` makes them in the order
of the folders; no function beside an estimator's own methods takes the estimator.

``columns``            a table of any library as columns of NumPy's arrays
``encodings``          a column as inputs of a network
``rows``               rows of a fit: with their targets, encoded, divided for validation
``ensemble``           networks of a fit: their training, and the choice of those that predict
``base``               the fit that both estimators share: read it first
``classifier``         `TabularClassifier`
``regressor``          `TabularRegressor`
``parameters``         the parameters of both; ``quality``: what ``"auto"`` stands for
``settings``           the parameters of a fit, resolved
``encoder``            `TableEncoder`, which fits and applies the encodings of all columns
``fit``                a fit that is ready to train
``fitted``             the result of a fit, as one record, which predicts
``fitted_attributes``  the attributes of an estimator that show it
``refinement``         the networks of a fit go on with new rows
``importance``         the importance of each column for the networks
``search_space``       values of parameters that are worth a search
``unlogged``           fits of scikit-learn's estimators that nothing records
"""

from xpnet.tabular.classifier import TabularClassifier
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.regressor import TabularRegressor

__all__ = ["TableEncoder", "TabularClassifier", "TabularRegressor"]
