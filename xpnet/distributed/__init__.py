"""Training on several processes: ``use_group`` asks for them, and all other code is the same for
one process and for many.

``group``        opens a group of processes, and divides the cores among them
``ranks``        the processes that train together, and what they exchange
``step``         a training step that shares each batch among them
``batches``      batches whose rows they share
``sources``      the same for rows that are read block by block
``agreement``    facts about rows on which the processes of a fit agree
``fingerprint``  a name for the rows of all ranks that does not depend on which rank has which row
``scaling``      scalers that are fitted to the rows of all ranks
"""

from xpnet.distributed.batches import Sharded, distributed_batches
from xpnet.distributed.group import use_group
from xpnet.distributed.ranks import Ranks, current_ranks
from xpnet.distributed.step import (
    DistributedStep,
    broadcast_state,
    count_rows,
    distributed_step,
    how_distributed,
)

__all__ = [
    "DistributedStep",
    "Ranks",
    "Sharded",
    "broadcast_state",
    "count_rows",
    "current_ranks",
    "distributed_batches",
    "distributed_step",
    "how_distributed",
    "use_group",
]
