"""Intrinsics in LLVM's instructions, for operations that Numba does not offer.

- ``emit``: the decorator of intrinsics, options of compilation, and the processor that Numba
  compiles for
- ``memory``: addresses, pointers and arrays, calls by address, and values that threads share
- ``arithmetic``: vectors, integers, and flushing of denormals
- ``tiles``: the innermost loop of this package's own matrix product
- ``bfloat16``, ``amx``: factors packed in pairs of bfloat16, and the innermost loops of their
  products
"""
