"""CuPy on NVIDIA GPUs."""
