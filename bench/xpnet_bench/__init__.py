"""Benchmarks of xpnet beside its peers, each number with its floor. Imported by nothing but the commands that run it."""
