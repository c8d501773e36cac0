"""What a compiled step may use; each can be switched off, so that a benchmark shows what it is worth."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """steps_per_graph : how many batches one recorded graph holds; 1 for a graph a batch"""

    steps_per_graph: int = 8
