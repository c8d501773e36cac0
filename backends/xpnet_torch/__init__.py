"""Ranks that PyTorch's launchers start: ``torchrun --nproc-per-node 4 a.py``, Ray Train, Spark's
TorchDistributor.
"""

from xpnet_torch.group import TorchGroup, open_group
