"""A fitted estimator as others look at it.

``predicted``   as scorers see it, with the outputs of validation rows
``inspection``  the parts of a prediction
``display``     a plot of losses
``conversion``  as skl2onnx sees it
"""
