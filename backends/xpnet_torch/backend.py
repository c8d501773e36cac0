"""PyTorch's part of the backend contract: one backend for each device."""

from functools import cache
from typing import TYPE_CHECKING

from xpnet.backend import GenericBackend, NetworkSpec, Step
from xpnet.errors import BackendError

if TYPE_CHECKING:
    import torch


class TorchBackend(GenericBackend):
    """PyTorch's tensors on one device.

    Parameters
    ----------
    device : torch.device
        Where tensors are made.
    """

    _device: "torch.device"

    def __init__(self, device: "torch.device") -> None:
        import array_api_compat.torch

        super().__init__("torch", array_api_compat.torch, device)

    def at(self, array: "torch.Tensor") -> "TorchBackend":
        """Return the backend on the device of a tensor."""
        return _on_device(array.device)

    def synchronize(self) -> None:
        """Wait until the device has finished all work that was queued."""
        import torch

        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)

    def compile_step(self, spec: NetworkSpec) -> Step:
        """Return the step that ``torch.compile`` compiles."""
        from xpnet_torch.step import TorchStep

        return TorchStep(spec, self, f"updates compiled by torch.compile for {self._device}")


@cache
def _on_device(device: "torch.device") -> TorchBackend:
    """Return the backend of a device, the same one at each call."""
    return TorchBackend(device)


def backend() -> TorchBackend:
    """Return the backend on PyTorch's default device.

    Raises
    ------
    BackendError
        Where PyTorch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise BackendError(
            "Backend torch needs PyTorch, which is not installed. pip install torch, or choose "
            "another."
        ) from error
    return _on_device(torch.get_default_device())
