"""The reference: NumPy, with no kernel of its own, so that every operation runs as ``xpnet.ops`` writes it."""

from xpnet_numpy.backend import NumpyBackend, backend
