"""What estimators of rows and of tables share: parameters, targets, weights, and how a fit is seen.

``parameters``     parameters of a constructor, and the values that each may have
``losses``         losses of numbers, with their levels
``targets``        classes: how targets are encoded for a loss, and decoded
``labels``         rules that labels of classes must hold
``weights``        weights of rows
``validation``     the loss on validation rows
``search_spaces``  values of parameters that are worth a search
``scikit_learn``   scikit-learn's base classes with types
"""
