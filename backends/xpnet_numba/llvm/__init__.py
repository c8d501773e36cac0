"""Intrinsics in LLVM's instructions supply what Numba does not offer.

``emit``        names by which an intrinsic is written; the processor that Numba compiles for
``memory``      addresses, pointers and arrays; values that others read; numbers that several threads write
``arithmetic``  vectors, integers, denormals that count as 0
``calls``       names by which functions are compiled and called
``tiles``       the innermost loop of a matrix product of our own
"""
