"""PyTorch: eager, compiled by torch.compile, or on a CUDA device, there in the forms of ``gpu_pytorch``."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy
import torch
from torch.nn.functional import cross_entropy as cross_entropy_of

from xpnet import BackendError
from xpnet_bench.contenders.answers import first_rows, sample, training_loss
from xpnet_bench.contenders.epochs import EpochByEpoch, accuracy_task
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job, data

_device = torch.device("cpu")
_compiled = False
_variant = "eager"


def device() -> torch.device:
    """Return the device on which this process computes."""
    return _device


def variant() -> str:
    """In which form this process runs PyTorch."""
    return _variant


def facts(variant: str) -> dict[str, str]:
    """PyTorch's version; fixes threads, device and whether functions are compiled.

    Raises BackendError where there is no CUDA device.
    """
    global _device, _compiled, _variant
    torch.set_num_threads(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    _compiled, _variant = variant == "compile", variant
    if variant.startswith("cuda"):
        if not torch.cuda.is_available():
            raise BackendError("PyTorch finds no CUDA device")
        _device = torch.device("cuda")
    return {"torch": torch.__version__, "threads": str(torch.get_num_threads())}


def stopwatch(variant: str) -> Callable[[Callable[[], Any], int], float] | None:
    """Return for CUDA the seconds between two events on the device; None where calls return when done."""
    return _between_events if variant.startswith("cuda") else None


def _between_events(call: Callable[[], Any], calls: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def _enter(array: numpy.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).to(_device)


def _sample(tensor: torch.Tensor) -> list[float]:
    return sample(tensor.detach().cpu().numpy())


def _maybe_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function) if _compiled else function


def softmax(job: Job) -> Task:
    """torch.softmax."""
    logits, function = _enter(data.logits(job)), _maybe_compiled(lambda x: torch.softmax(x, dim=1))
    return Task(lambda: function(logits), _sample)


def cross_entropy(job: Job) -> Task:
    """cross_entropy, and its gradient by autograd."""
    logits, y = _enter(data.logits(job)).requires_grad_(), _enter(data.labels(job))
    function = _maybe_compiled(lambda x, labels: cross_entropy_of(x, labels))

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        loss = function(logits, y)
        return loss, torch.autograd.grad(loss, logits)[0]

    return Task(call, lambda result: [float(result[0]), *_sample(result[1])])


def relu(job: Job) -> Task:
    """torch.relu."""
    x, function = _enter(data.flat(job, 1)[0]), _maybe_compiled(lambda x: torch.relu(x))
    return Task(lambda: function(x), _sample)


def adam(job: Job) -> Task:
    """torch.optim.Adam with its fused update."""
    if _compiled:
        raise BackendError("the fused update is not compiled; see torch")
    first = [_enter(a) for a in data.flat(job, 4)]
    held: list[Any] = []

    def reset() -> None:
        param = first[0].clone().requires_grad_()
        param.grad = first[1]
        optimizer = torch.optim.Adam([param], fused=True)
        step = torch.tensor(9.0, device=_device)
        optimizer.state[param] = {
            "step": step,
            "exp_avg": first[2].clone(),
            "exp_avg_sq": first[3].clone(),
        }
        held[:] = [optimizer, param]

    def call() -> torch.Tensor:
        held[0].step()
        return held[1]

    return Task(call, _sample, reset)


class Network:
    """A Sequential with the weights that every contender starts from, and its optimizer."""

    def __init__(self, job: Job, dropout: float = 0.0) -> None:
        sizes = job.sizes
        first = torch.nn.Linear(sizes["features"], sizes["hidden"])
        second = torch.nn.Linear(sizes["hidden"], sizes["classes"])
        dropped = [torch.nn.Dropout(dropout)] if dropout else []
        layers = torch.nn.Sequential(first, torch.nn.ReLU(), *dropped, second)
        self.model = layers.to(_device, getattr(torch, job.dtype))
        adam = sizes.get("adam", 0)
        kind, rate = (torch.optim.Adam, 1e-3) if adam else (torch.optim.SGD, 1e-2)
        self.optimizer = kind(self.model.parameters(), lr=rate, fused=True)
        self._fresh = self.optimizer.state_dict()
        if _compiled:
            self.model.compile()
        self.restart(job)

    def restart(self, job: Job) -> None:
        """The first weights again, and an optimizer that knows nothing; what was compiled stays."""
        self.optimizer.load_state_dict(self._fresh)
        values = (a.T if a.ndim == 2 else a for a in data.weights(job))
        with torch.no_grad():
            for param, value in zip(self.model.parameters(), values, strict=True):
                param.copy_(torch.from_numpy(value))

    def predict(self, X: torch.Tensor) -> torch.Tensor:
        """Class probabilities."""
        with torch.inference_mode():
            return torch.softmax(self.model(X), dim=1)

    def step(self, X: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> None:
        """One update; weight: of each row, in the mean of their losses."""
        if weight is None:
            loss = cross_entropy_of(self.model(X), y)
        else:
            loss = (
                weight * cross_entropy_of(self.model(X), y, reduction="none")
            ).sum() / weight.sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def epochs(self, job: Job, *arrays: torch.Tensor) -> None:
        """Epochs of minibatches of X, y and perhaps weights; one batch of all rows is taken as it lies."""
        rows, batch = arrays[0].shape[0], job.sizes["batch"]
        for _ in range(job.sizes["epochs"]):
            if batch >= rows:
                self.step(*arrays)
                continue
            order = torch.randperm(rows, device=_device)
            for start in range(0, rows, batch):
                chosen = order[start : start + batch]
                self.step(*(array[chosen] for array in arrays))


def train(job: Job) -> Task:
    """Epochs from the first weights."""
    network = Network(job)
    task = _training(job, network, *map(_enter, data.rows(job)))
    return replace(
        task, answer=lambda result: training_loss(job, _probabilities(network, first_rows(job)))
    )


def fit_many(job: Job) -> Task:
    """All networks by batched products over shared batches: the sum of their losses has the gradients of each."""
    (X, y), count, batch = map(_enter, data.rows(job)), job.sizes["networks"], job.sizes["batch"]

    def call() -> None:
        stacked = [
            _enter(a.reshape(1, -1, a.shape[-1])).repeat(count, 1, 1) for a in data.weights(job)
        ]
        W1, b1, W2, b2 = params = [p.requires_grad_() for p in stacked]
        optimizer = torch.optim.Adam(params, lr=1e-3, fused=True)
        for chosen in (
            rows for _ in range(job.sizes["epochs"]) for rows in torch.randperm(len(X)).split(batch)
        ):
            hidden = torch.baddbmm(b1, X[chosen].expand(count, -1, -1), W1).relu()
            logits = torch.baddbmm(b2, hidden, W2).flatten(0, 1)
            loss = cross_entropy_of(logits, y[chosen].repeat(count), reduction="sum") / len(chosen)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return Task(call, lambda result: [])


def fit_weighted(job: Job) -> Task:
    """Fit as ``fit`` does, with a weight for each row."""
    return _training(job, Network(job), *map(_enter, (*data.rows(job), data.row_weights(job))))


def fit_dropout(job: Job) -> Task:
    """Fit with dropout."""
    network = Network(job, job.sizes["dropped_per_cent"] / 100)
    return _training(job, network, *map(_enter, data.rows(job)))


def _training(job: Job, network: Network, *arrays: torch.Tensor) -> Task:
    def reset() -> None:
        torch.manual_seed(data.SEED)
        network.restart(job)

    return Task(lambda: network.epochs(job, *arrays), lambda result: [], reset)


def accuracy(job: Job) -> Task:
    """Epochs until enough test rows are right."""
    training, test = data.training_and_test(job)
    X, y = map(_enter, training)
    network = Network(job)

    def epoch() -> None:
        network.epochs(job, X, y)
        if _device.type == "cuda":
            torch.cuda.synchronize()

    def start(seed: int) -> EpochByEpoch:
        torch.manual_seed(seed)
        network.restart(job)
        return EpochByEpoch(epoch, lambda: _probabilities(network, test.X))

    return accuracy_task(job, start, test.y)


def _probabilities(network: Network, X: numpy.ndarray) -> numpy.ndarray:
    return network.predict(_enter(X)).cpu().numpy()


def predict(job: Job) -> Task:
    """Run the model and a softmax, without autograd."""
    network, X = Network(job), _enter(data.rows(job).X)
    return Task(lambda: network.predict(X), _sample)


OPERATIONS = {
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "relu": relu,
    "adam": adam,
    "train": train,
    "fit_many": fit_many,
    "accuracy": accuracy,
    "predict": predict,
    "fit_weighted": fit_weighted,
    "fit_dropout": fit_dropout,
}
