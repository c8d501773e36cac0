"""CuPy arrays on an NVIDIA GPU: fused kernels, and training steps that are captured in a CUDA
graph.

``backend``     the contract: arrays in and out, devices, facts for a person
``operations``  the kernels under the names and signatures of ``xpnet.ops``
``step``        the compiled training step; the next order, drawn beside the device's work
``plan``        the launches of a batch, or of a block of a prediction, in plain Python
``member_plan`` those of members, networks that share weights
``runs``        how such lists run, and become CUDA graphs
``memory``      what an epoch reads; the buffers of a step
``launches``    each kernel with its grid
``launcher``    the check of kernels' arguments, products, CUDA graphs
``kernel_table`` names and parameters of the kernels, read from their source
``cuda``        streams, lanes and compiled kernels of CuPy, and its errors where memory runs out
``cublaslt``    matrix products as cuBLASLt describes them, through ctypes
``kernels.cu``  the kernels
``checked``     which assumptions of tests/gpu hold on this card

Nothing here imports CuPy until the backend is asked for, and no device is touched until an array
is.
"""

from xpnet_cupy.backend import CupyBackend, backend

__all__ = ["CupyBackend", "backend"]
