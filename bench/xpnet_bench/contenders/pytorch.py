"""PyTorch: eager, compiled by torch.compile, and on a CUDA device eager or the step captured as a
CUDA graph.
"""

from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch.nn.functional import cross_entropy

from xpnet import BackendError
from xpnet_bench.contenders.contender import Contender, Network, Task
from xpnet_bench.contenders.plain_numpy import ADAM_RATE, SGD_RATE
from xpnet_bench.jobs import BFLOAT16_BITS, FLOAT32_BITS, TF32_BITS, Job, data, widths_of
from xpnet_bench.measure.pinning import allowed_threads

MATMUL_PRECISION = {FLOAT32_BITS: "highest", TF32_BITS: "high", BFLOAT16_BITS: "medium"}
"""PyTorch's names of number formats, by the bits of the fraction of what products take."""

WARM_STEPS = 3
"""Number of steps before a graph is captured, as PyTorch asks for."""


class TorchNetwork(Network):
    """A Sequential with its fused optimizer.

    compiled : whether the model is compiled
    autocast : whether products that take bfloat16 do so under ``torch.autocast``
    capturable : whether the optimizer may be part of a CUDA graph
    """

    capturable = False

    def __init__(
        self,
        job: Job,
        seed: int,
        device: torch.device,
        *,
        compiled: bool = False,
        autocast: bool = False,
    ) -> None:
        super().__init__(job, seed)
        self.device = device
        bits = job.sizes.get("bits", FLOAT32_BITS)
        torch.set_float32_matmul_precision(MATMUL_PRECISION[bits])
        self.halved = bits == BFLOAT16_BITS and autocast
        dropout = job.sizes.get("dropped_per_cent", 0) / 100
        layers: list[torch.nn.Module] = []
        widths = widths_of(job)
        for fan_in, fan_out in zip(widths, widths[1:], strict=False):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
            layers += [torch.nn.Dropout(dropout)] if dropout else []
        del layers[-2 if dropout else -1 :]  # none of them follows the last layer
        model = torch.nn.Sequential(*layers)
        self.model: torch.nn.Module = model.to(device, getattr(torch, job.dtype))
        self.optimizer: torch.optim.Optimizer
        if self.uses_adam:
            self.optimizer = torch.optim.Adam(
                self.model.parameters(), lr=ADAM_RATE, fused=True, capturable=self.capturable
            )
        else:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=SGD_RATE, fused=True)
        if compiled:
            self.model.compile()
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Set the first weights, and the optimizer's state to zero; what was compiled or captured
        stays.
        """
        torch.manual_seed(seed)
        values = (array.T if array.ndim == 2 else array for array in data.weights(self.job))
        with torch.no_grad():
            for param, value in zip(self.model.parameters(), values, strict=True):
                param.copy_(torch.from_numpy(value))
            for state in self.optimizer.state.values():
                for buffer in filter(torch.is_tensor, state.values()):
                    buffer.zero_()

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        if not self.halved:
            return self.model(X)
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            return self.model(X)

    def predict(self, X: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return torch.softmax(self.forward(X), dim=1)

    def step(self, *arrays: torch.Tensor) -> None:
        """One update with X, y and perhaps the weight of each row in the mean of their losses."""
        X, y, *weight = arrays
        self.optimizer.zero_grad(set_to_none=True)
        if weight:
            losses = cross_entropy(self.forward(X), y, reduction="none")
            loss = (weight[0] * losses).sum() / weight[0].sum()
        else:
            loss = cross_entropy(self.forward(X), y)
        loss.backward()
        self.optimizer.step()

    def shuffled(self, rows: int) -> torch.Tensor:
        return torch.randperm(rows, device=self.device)


class CapturedNetwork(TorchNetwork):
    """The whole step, gathering and Adam included, is one CUDA graph. All batches have one size."""

    capturable = True
    graph: torch.cuda.CUDAGraph | None = None

    def epochs(self, *arrays: torch.Tensor) -> None:
        batch = self.job.sizes["batch"]
        if self.graph is None:
            self.rows = torch.arange(batch, device=self.device)
            self.graph = self._captured(arrays)
        for _ in range(self.job.sizes["epochs"]):
            for rows in self.shuffled(len(arrays[0])).split(batch):
                self.rows.copy_(rows)
                self.graph.replay()

    def _captured(self, arrays: tuple[torch.Tensor, ...]) -> torch.cuda.CUDAGraph:
        """Warm up on a stream of its own, as PyTorch asks for, and capture a step."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_STEPS):
                self.step_on_rows(arrays)
        torch.cuda.current_stream().wait_stream(stream)
        self.restart(data.SEED)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step_on_rows(arrays)
        return graph

    def step_on_rows(self, arrays: tuple[torch.Tensor, ...]) -> None:
        """One update with the rows whose indices are in ``self.rows``."""
        self.step(*(array[self.rows] for array in arrays))


class DividedNetwork(TorchNetwork):
    """DistributedDataParallel: each rank takes its part of each batch."""

    def __init__(self, job: Job, seed: int, device: torch.device, **settings: Any) -> None:
        super().__init__(job, seed, device, **settings)
        self.model = torch.nn.parallel.DistributedDataParallel(self.model)

    def epochs(self, *arrays: torch.Tensor) -> None:
        rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        order = numpy.random.default_rng(data.SEED).permutation(len(arrays[0]))
        for rows in torch.from_numpy(order).split(self.job.sizes["batch"]):
            own = rows.tensor_split(size)[rank]
            self.step(*(array[own] for array in arrays))


NETWORKS: dict[str, type[TorchNetwork]] = {"cuda-captured": CapturedNetwork, "ddp": DividedNetwork}
"""The networks of some variants; the others train a ``TorchNetwork``."""


class Torch(Contender):
    """PyTorch; the variant is ``eager``, ``compile``, ``autocast``, ``cuda``, ``cuda-compile``,
    ``cuda-captured``, or ``ddp`` in a process of ranks.
    """

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        torch.set_num_threads(allowed_threads())
        if variant.startswith("cuda") and not torch.cuda.is_available():
            raise BackendError("PyTorch finds no CUDA device")
        self.device = torch.device("cuda" if variant.startswith("cuda") else "cpu")
        self.compiled = variant in ("compile", "cuda-compile")
        self._network: TorchNetwork | None = None
        self.softmax = self._maybe_compiled(lambda x: torch.softmax(x, dim=1))
        self.relu = self._maybe_compiled(lambda x: torch.relu(x))
        self._loss = self._maybe_compiled(lambda x, labels: cross_entropy(x, labels))

    def _maybe_compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function) if self.compiled else function

    def facts(self) -> dict[str, str]:
        return {"torch": torch.__version__, "threads": str(torch.get_num_threads())}

    def stopwatch(self, call: Callable[[], Any], calls: int) -> float:
        """For CUDA the seconds between two events on the device."""
        if self.device.type != "cuda":
            return super().stopwatch(call, calls)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000

    def enter(self, array: numpy.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def leave(self, array: torch.Tensor) -> numpy.ndarray:
        values = array.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def cross_entropy(self, logits: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the loss, and its gradient from autograd."""
        loss = self._loss(logits.requires_grad_(), y)
        return loss, torch.autograd.grad(loss, logits)[0]

    def adam_state(self, *arrays: numpy.ndarray) -> tuple[Any, ...]:
        """torch.optim.Adam with its fused update."""
        if self.compiled:
            raise BackendError("the fused update is not compiled; see torch")
        param, grad, m, v = map(self.enter, arrays)
        param.requires_grad_().grad = grad
        optimizer = torch.optim.Adam([param], fused=True)
        step = torch.tensor(9.0, device=self.device)
        optimizer.state[param] = {"step": step, "exp_avg": m, "exp_avg_sq": v}
        return param, optimizer

    @staticmethod
    def adam(param: torch.Tensor, optimizer: torch.optim.Optimizer) -> tuple[Any, ...]:
        """Update in place."""
        optimizer.step()
        return param, optimizer

    def network(self, job: Job, seed: int) -> TorchNetwork:
        """Make a network, or set the first weights of the one that was made for this job: compiling
        takes long.
        """
        if self._network is not None and self._network.job == job:
            self._network.restart(seed)
            return self._network
        kind = NETWORKS.get(self.variant, TorchNetwork)
        autocast = self.variant == "autocast" or self.device.type == "cuda"
        self._network = kind(job, seed, self.device, compiled=self.compiled, autocast=autocast)
        return self._network

    def make_fit_weighted(self, job: Job) -> Task:
        """Minibatches with a weight for each row."""
        return self._fit(job, self.enter(data.row_weights(job)))

    def make_fit_dropout(self, job: Job) -> Task:
        """Minibatches with dropout."""
        return self._fit(job)

    def _fit(self, job: Job, *weights: torch.Tensor) -> Task:
        network = self.network(job, data.SEED)
        arrays = (*self.place(data.rows(job), job), *weights)
        return Task(lambda: network.epochs(*arrays), reset=lambda: network.restart(data.SEED))
