"""CuPy arrays on an NVIDIA GPU: fused kernels, and training steps that are captured in a CUDA graph.

``backend``     the contract: arrays in and out, devices, facts for a person
``operations``  the kernels under the names and signatures of ``xpnet.ops``
``step``        the compiled training step
``plan``        the list of launches that one batch is, in plain Python
``replay``      launches that are recorded, one batch or several at once
``resident``    an epoch in one launch, for small networks
``forward``     the way forward
``prediction``  predictions that are recorded
``losses``      losses without gradients that are recorded
``orders``      orders of the rows, the next drawn beside the device's work
``transfers``   copies that nobody waits for
``memory``      the buffers that a step allocates, once
``launches``    each kernel with its grid
``launcher``    the table of kernels, and the one place where their arguments are checked
``products``    matrix products as cuBLASLt describes them
``cublaslt``    cuBLASLt through ctypes
``timing``      which of several ways is the fastest on this card
``libraries``   which of NVIDIA's libraries is loaded
``shares``      what a rank has of each batch
``options``     what a step may use
``nccl``        ranks with a GPU each
``kernels.cu``  the kernels; ``resident.cu``, the one that trains an epoch alone

Nothing here imports CuPy until the backend is asked for, and no device is touched until an array is.
"""

from xpnet_cupy.backend import CupyBackend, backend
from xpnet_cupy.nccl import open_group

__all__ = ["CupyBackend", "backend", "open_group"]
