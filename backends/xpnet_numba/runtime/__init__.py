"""Compiling and its cache, the threads that share work, and the hold on BLAS's own threads."""
