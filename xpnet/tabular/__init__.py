"""Tables: an encoder for frames of any library, and estimators that need no other preparation.

``columns``    tables of any library as numbers, categories and moments
``encodings``  how one column becomes float32 columns
``encoder``    ``TableEncoder``, which chooses an encoding for each column
``recipe``     how the networks of a table are trained
``estimators`` ``TabularClassifier`` and ``TabularRegressor``
"""

from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.estimators import TabularClassifier, TabularRegressor

__all__ = ["TableEncoder", "TabularClassifier", "TabularRegressor"]
