"""The CUDA kernels on the host, and a stand-in for CuPy over them."""
