"""Compilation and its cache, the threads that share work, and the limit on BLAS's own threads."""
