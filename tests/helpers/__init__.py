"""What the tests of several files share: oracles, array libraries, damaged files, launchers of
ranks, CUDA on the host.

The folder ``tests`` is on the path of the tests (``pythonpath`` in pyproject.toml), so that a test
writes ``from helpers.oracles import PlainStep``. A program is run as ``PYTHONPATH=tests python -m
helpers.NAME``.
"""
