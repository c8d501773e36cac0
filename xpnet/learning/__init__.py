"""Parameters, targets, weights and fitted attributes, for estimators of rows and of tables.

``parameters``     parameters of a constructor, and the values that each may have
``losses``         losses of numbers, with their levels; ``ordered``: ordered classes
``regressor``      what regressors share: the choice of a loss, exposures, and the score
``targets``        classes and numbers: how a loss takes them, and what outputs say
``labels``         rules that labels of classes must hold
``weights``        weights of rows
``exposure``       known factors of the means of rows: exposures and offsets
``class_offsets``  known numbers that are added to the logits of classes
``scores``         scores of predictions, and constant baselines
``split``          rows as they are passed, and their split for validation, over all processes
``validation``     the loss on validation rows
``fitted``         the record of the last fit, and what is shown of it
``search_spaces``  values of parameters that are worth a search
``scikit_learn``   scikit-learn's base classes with types, and fits that nothing records
"""
