"""Networks of a fit: their settings, their training, and the choice of those that predict.

``ensemble``          all networks of a fit, each on a fold of the rows: read it first
``recipe``            what they share, by the settings and the rows
``network_training``  the training of one network, from its first weights to its last epoch
``training_on_rows``  training on rows in memory or of a source, with or without offsets
``best_epoch``        the epoch that a network keeps; ``refit``: its last epochs, on all rows
``refined_networks``  the training of a fit's networks on new rows
``predicting_networks``
                      trained networks with linear baselines or constants in their weights
``linear``            trees and linear models, which become parts of networks or predict alone
``search``            settings in which networks differ, and the search for the best of them
``blending``          the settings whose networks predict validation rows best together
``validation``        predictions of validation rows, and the calibration by them
``balance``           the level of a trained network: totals of means, shares of ordered classes
``watching``          callbacks and logged lines of a fit
"""
