"""The reference backend: NumPy without kernels, so that every operation runs as it is written in
``xpnet.ops``.
"""

from xpnet_numpy.backend import NumpyBackend, backend
