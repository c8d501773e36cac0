"""PyTorch: tensors that train by a compiled step, and groups of processes.

``backend``  the contract of a backend: tensors in and out, devices
``step``     the training step: the reference step, compiled by ``torch.compile``
``group``    ranks that PyTorch's launchers start: ``torchrun --nproc-per-node 4 a.py``, Ray Train,
             Spark's TorchDistributor

PyTorch is imported when a backend or a group is asked for.
"""

from xpnet_torch.backend import TorchBackend, backend
from xpnet_torch.group import TorchGroup, open_group

__all__ = ["TorchBackend", "TorchGroup", "backend", "open_group"]
