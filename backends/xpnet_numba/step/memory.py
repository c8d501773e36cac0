"""The memory of a network that all its jobs share, and the jobs that read it."""

import ctypes
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from operator import mul

import numpy

from xpnet.backend import NetworkSpec
from xpnet.backend.bounds import bounds_of
from xpnet_numba.llvm.emit import gemm_address
from xpnet_numba.loops.updates import number_array
from xpnet_numba.runtime.bfloat16 import choose_products
from xpnet_numba.runtime.blas import BLAS, one_thread
from xpnet_numba.step import functions, layout
from xpnet_numba.step.job import Job, aligned, job_class, set_pointers


class StepMemory:
    """Parameters, gradients and optimizer state of a network, each in one buffer.

    spec : the network
    size : number of items of a buffer
    flat : the buffers by name, "params" at first
    params : the parameters by name
    products : the matrix products that its jobs use; multiply_at : the address of their function
    limits : the context in which they run: BLAS is limited to one thread if they use it
    """

    def __init__(self, spec: NetworkSpec, precision: str) -> None:
        self.spec = spec
        self.size = layout.buffer_size(spec)
        self.flat: dict[str, numpy.ndarray] = {}
        self.allocate("params")
        self.params = layout.parameters(spec, self.flat["params"])
        largest = max(map(mul, spec.widths, spec.widths[1:]))
        weight_bytes = largest * numpy.dtype(spec.dtype).itemsize
        self.products = choose_products(precision, spec.dtype, weight_bytes)
        self.multiply_at = functions.address(self.products.function, spec.dtype)
        self._by_blas = self.products.function == BLAS
        self.limits: AbstractContextManager[object] = one_thread if self._by_blas else nullcontext()
        self._layers = layout.layer_table(spec)
        self._rule = number_array(vars(spec.rule))
        self._seed = numpy.array([spec.seed % 2**64, spec.seed >> 64], "uint64")
        self._loss_numbers = numpy.array(
            spec.output_numbers or (0.0,) * spec.widths[-1], spec.dtype
        )

    @cached_property
    def _bounds(self) -> dict[str, numpy.ndarray]:
        """Return the lowest and the highest values of the parameters, flat; none for no bounds."""
        if not bounds_of(self.spec):
            return {}
        arrays = aligned(self.spec.dtype, {"low_at": self.size, "high_at": self.size})
        layout.write_bounds(self.spec, arrays["low_at"], arrays["high_at"])
        return arrays

    def allocate(self, *names: str) -> None:
        """Allocate a flat buffer of zeros, as large as all parameters, for each missing name."""
        missing = [name for name in names if name not in self.flat]
        self.flat |= aligned(self.spec.dtype, dict.fromkeys(missing, self.size))

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of all jobs."""
        self._rule[0] = learning_rate

    def new_job(self) -> Job:
        """Return a job with all fields that do not change from call to call."""
        spec = self.spec
        job = job_class(spec.dtype)(
            inputs=spec.widths[0],
            outputs=spec.widths[-1],
            layers=len(self._layers),
            members=spec.members,
            layers_at=ctypes.addressof(self._layers),
            l2=spec.l2,
            l2_over_batch=spec.l2_over_batch,
            multiply_at=self.multiply_at,
            gemm_at=gemm_address(spec.dtype) if self._by_blas else 0,
            **layout.functions_by_role(spec),
        )
        numbers = {
            "rule_at": self._rule,
            "seed_at": self._seed,
            "loss_numbers_at": self._loss_numbers,
        }
        set_pointers(job, {"params_at": self.flat["params"], **numbers, **self._bounds})
        return job
