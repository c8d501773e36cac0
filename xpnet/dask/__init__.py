"""Estimators that train on the workers of a Dask cluster: Dask arrays and data frames in, Dask
predictions out.

``estimators``  scikit-learn's contract over Dask collections
``training``    a rank on each worker, and the client, which watches them
``exchange``    what connects the ranks
``placement``   the blocks of collections, placed on workers
``prediction``  predictions block by block
"""

from xpnet.dask.estimators import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
