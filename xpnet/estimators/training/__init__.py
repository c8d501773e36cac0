"""The training of an estimator's network: by epochs of minibatches, or by L-BFGS.

``stochastic``  training by epochs of minibatches: read it first
``epochs``      an epoch as scikit-learn makes and measures it
``stopping``    callbacks that end a fit
``verbose``     the lines that are logged
``resume``      the checkpoints of fits that were cut off
``lbfgs``       training by L-BFGS
``warnings``    scikit-learn's warnings
"""
