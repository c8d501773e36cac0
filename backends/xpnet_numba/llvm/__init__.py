"""Intrinsics in LLVM's instructions supply what Numba does not offer.

``emit``        names by which an intrinsic is written and a function compiled; the processor that Numba compiles for
``memory``      addresses, pointers and arrays; calls by address; values that others read; numbers that several write
``arithmetic``  vectors, integers, denormals that count as 0
``tiles``       the innermost loop of a matrix product of our own
"""
