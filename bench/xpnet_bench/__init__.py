"""Benchmarks of xpnet beside its peers, and the reports they feed: what ``xpnet bench`` runs.

``jobs`` says what is measured, ``contenders`` how each library does it, ``measure`` times them,
each in a process of its own, ``run`` goes from job to job, ``record`` writes what they took,
``report`` and ``compare`` read that file. Only public names of xpnet are used, but for the loss
kernel alone on a GPU.
"""
