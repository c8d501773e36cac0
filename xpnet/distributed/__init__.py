"""Training on several processes: ``use_group`` asks for them, and everything else works on one process or many alike.

``ranks``  what processes that train together tell each other, and a training step that shares each batch among them
``group``  how a group of processes is asked for, and the cores that each uses
``digest`` a name for the rows of all ranks, whichever rank has them
"""

from xpnet.distributed.group import use_group
from xpnet.distributed.ranks import (
    ALONE,
    DistributedStep,
    Ranks,
    current_ranks,
    on_all_ranks,
    ranks_of,
)
