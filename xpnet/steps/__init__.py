"""Training steps: the backend's compiled one, or the reference, which walks the layers. The lock lets threads share a
network.
"""

from xpnet.steps.making import NetworkLock, locked, make_step
from xpnet.steps.reference import ReferenceStep
