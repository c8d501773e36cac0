"""Benchmarks of xpnet beside its peers, and the reports they feed: what ``xpnet bench`` runs.

``jobs`` says what is measured, ``contenders`` how each library does it, ``measure`` times them, each in a process
of its own, ``suites`` hands the times to pytest-benchmark, ``report`` and ``compare`` read the file that it writes.
Only public names of xpnet are used.
"""
