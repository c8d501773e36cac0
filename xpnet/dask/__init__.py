"""Estimators that train on the workers of a Dask cluster: Dask arrays and data frames in, Dask predictions out.

``estimators``  scikit-learn's contract over Dask collections
``training``    the blocks of collections, a rank on each worker, what connects them, and the client, which watches them
"""

from xpnet.dask.estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
