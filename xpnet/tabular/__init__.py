"""Tables: an encoder for frames of any library, and estimators that need no other preparation.

``frames``           tables of any library as columns of NumPy's arrays; ``columns``: these columns
``reading``          columns read as the training has learned it; ``gap_notes``: values that look
                     like gaps
``number_encoding``  numbers and timestamps as float32 columns; ``category_encoding``: categories;
                     ``text_encoding``: free text; ``encodings``: any of these;
                     ``encoding_target``: the target that they are fitted to
``encoder``          ``TableEncoder``; ``column_fit``: how it chooses the encoding of a column
``settings``         the parameters of a fit, resolved; ``quality``: what ``"auto"`` stands for
``recipe``           what all networks of a fit share, by its settings and its rows
``linear_baseline``  trees and linear models that become a part of the networks;
                     ``linear_solvers``: their fits; ``unlogged``: fits that nothing records;
                     ``wide_tables``: linear models of tables with more numbers than rows
``division``         training and validation rows, by groups and times
``ensemble``         the training of the networks; ``refit``: their last epochs, on all rows
``search``           the settings in which networks differ, and the search for the best ones
``blending``         the settings whose networks predict validation rows best together
``watching``         callbacks and logged lines of a fit
``calibration``      intervals and probabilities from validation rows
``importance``       the importance of each column for the networks
``fitted``           the result of a fit, as one record
``parameters``       the parameters of both estimators
``fit_rows``         the rows of a fit with their targets and weights, and their encoding
``predicted_rows``   validation rows, predicted by networks that were not trained on them
``base``             the fit that both estimators share
``classifier``       ``TabularClassifier``
``regressor``        ``TabularRegressor``
``search_space``     parameters that are worth a search
"""

from xpnet.tabular.classifier import TabularClassifier
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.regressor import TabularRegressor

__all__ = ["TableEncoder", "TabularClassifier", "TabularRegressor"]
