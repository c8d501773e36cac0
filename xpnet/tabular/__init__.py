"""Tables: an encoder for frames of any library, and estimators that need no other preparation.

A fit is data: records that are each made once, and passed on. `Tabular.fit` makes them in the order
of the folders; no function beside an estimator's own methods takes the estimator.

``columns``            a table of any library as columns of NumPy's arrays
``encodings``          a column as inputs of a network
``rows``               rows of a fit: with their targets, encoded, divided for validation
``ensemble``           networks of a fit: their training, and the choice of those that predict
``base``               the fit that both estimators share: read it first
``refinement``         a fit goes on with new rows
``preparation``        the rows of both: checked, with their targets encoded
``classifier``         `TabularClassifier`
``regressor``          `TabularRegressor`
``parameters``         the parameters of both; ``quality``: what ``"auto"`` stands for
``settings``           the parameters of a fit, resolved
``encoder``            `TableEncoder`, which learns how to encode a table
``fitted_encoder``     what it does with later tables
``fit``                a fit that is ready to train
``fitted``             the result of a fit, as one record, which predicts
``fitted_attributes``  the attributes of an estimator that show it
``importance``         the importance of each column for the networks
"""

from xpnet.tabular.classifier import TabularClassifier
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.regressor import TabularRegressor

__all__ = ["TableEncoder", "TabularClassifier", "TabularRegressor"]
