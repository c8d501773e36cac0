"""Ranks that MPI starts and connects, through mpi4py: ``mpirun -n 4 python train.py``, or ``srun``.

``group``  sums and shares over a communicator, and memory that ranks of one machine have in common
``watch``  ends all ranks when one of them is waited for too long
"""

from xpnet_mpi.group import MpiGroup, open_group
