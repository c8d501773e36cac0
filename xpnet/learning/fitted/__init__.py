"""What is shown of the last fit of an estimator.

``record``        attributes of one record, which ``fit`` replaces
``coefficients``  the coefficients of a network without hidden layers
"""
