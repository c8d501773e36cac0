"""The loops: each operation once, over arrays, whether it is launched alone or runs inside the training step.

``activations``  f(x + b) and its gradient, for every activation
``softmax``      softmax and its logarithm, by rows
``losses``       each loss with its gradient, by rows
``dropout``      leaving units out
``updates``      update rules and the penalty, over a run of parameters
``rows``         gathering, adding up and looking through rows
``products``     the matrix product

A loop writes only what its arguments name, knows nothing of threads, and can be called with any number of rows.
``xpnet_numba.ops`` launches loops over chunks of rows, ``xpnet_numba.step.functions`` makes of them what a step calls.
"""
