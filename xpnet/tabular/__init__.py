"""Tables: an encoder for frames of any library, and estimators that need no other preparation.

``columns``          tables of any library as numbers, categories and moments
``encodings``        how one column becomes float32 columns
``encoder``          ``TableEncoder``, which chooses an encoding for each column
``recipe``           what ``"auto"`` stands for, and the settings that the networks of a fit share
``linear_baseline``  simple models that become a part of the networks
``ensemble``         the training of the networks
``calibration``      intervals and probabilities from validation rows
``fitted``           what one fit has learned, as one record
``base``             what both estimators share
``classifier``       ``TabularClassifier``
``regressor``        ``TabularRegressor``
``search_space``     parameters that are worth a search
"""

from xpnet.tabular.classifier import TabularClassifier
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.regressor import TabularRegressor

__all__ = ["TableEncoder", "TabularClassifier", "TabularRegressor"]
