"""The modules whose ``__all__`` is the API, as the docstring of ``xpnet`` says."""

import inspect

import xpnet

NAMED = ["xpnet.data.sources", "xpnet.dask", "xpnet.mlflow"]
ROOMS = [
    "xpnet",
    *(f"xpnet.{name}" for name in xpnet.__all__ if inspect.ismodule(getattr(xpnet, name))),
    *NAMED,
]
