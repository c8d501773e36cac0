"""Fused kernels and a compiled training step on NumPy arrays, compiled by Numba on first need and cached on disk."""
