"""Training on several processes: ``use_group`` asks for them, and everything else works on one process or many alike.

``ranks``  groups, what their processes tell each other, and the cores that each uses
``digest`` names the rows of all ranks, whichever rank has them
``step``   a training step that gives each process its part of a batch, and adds the gradients up
"""

from xpnet.distributed.ranks import ALONE, Ranks, current_ranks, use_group
from xpnet.distributed.step import DistributedStep, on_all_ranks

__all__ = ["ALONE", "DistributedStep", "Ranks", "current_ranks", "on_all_ranks", "use_group"]
