"""CuPy arrays on an NVIDIA GPU: fused kernels, and training steps that are captured in a CUDA graph.

``backend``     the contract: arrays in and out, devices, facts for a person
``operations``  the kernels under the names and signatures of ``xpnet.ops``
``step``        the compiled training step: a plan, captured once and replayed for an epoch
``plan``        the list of launches that one batch is, in plain Python
``memory``      the buffers that a step allocates, once
``launches``    each kernel with its grid
``launcher``    the table of kernels, and the one place where their arguments are checked
``products``    matrix products as cuBLASLt describes them
``cublaslt``    cuBLASLt through ctypes
``kernels.cu``  the kernels

Nothing here imports CuPy until the backend is asked for, and no device is touched until an array is.
"""

from xpnet_cupy.backend import CupyBackend, backend

__all__ = ["CupyBackend", "backend"]
