"""PyTorch on a GPU: eager, compiled, or with the whole step captured as a CUDA graph; fused Adam in all of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from xpnet_bench.contenders import gpu_data, pytorch
from xpnet_bench.contenders.answers import sample
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job

WARM_STEPS, TF32_BITS, BFLOAT16_BITS = 3, 10, 7


class Trainer:
    """A network on the device with its data, and one step at a time through an epoch.

    order : (steps, batch); cursor : the number of the next step, on the device, as a graph needs it
    """

    def __init__(self, job: Job, *, capturable: bool) -> None:
        torch.backends.cuda.matmul.allow_tf32 = job.sizes["bits"] == TF32_BITS
        self.halved = job.sizes["bits"] == BFLOAT16_BITS
        self.X, self.y, order = (
            torch.from_numpy(array).to(pytorch.device()) for array in gpu_data.rows(job)
        )
        self.order = order.reshape(job.sizes["steps"], job.sizes["batch"])
        self.cursor = torch.zeros(1, dtype=torch.int64, device=pytorch.device())
        self.total = torch.zeros((), device=pytorch.device())
        self.first = [torch.from_numpy(array) for array in gpu_data.parameters(job)]
        self.params = [array.to(pytorch.device()).clone().requires_grad_() for array in self.first]
        rate = gpu_data.LEARNING_RATE
        self.optimizer = torch.optim.Adam(self.params, lr=rate, fused=True, capturable=capturable)

    def loss(self) -> torch.Tensor:
        """Return the loss of the step's rows; no copies of weights are kept, as a captured graph demands."""
        rows, params = self.order.index_select(0, self.cursor).reshape(-1), self.params
        hidden = self.X[rows]
        with torch.autocast(
            pytorch.device().type, torch.bfloat16, enabled=self.halved, cache_enabled=False
        ):
            for k in range(0, len(params) - 2, 2):
                hidden = torch.relu(torch.addmm(params[k + 1], hidden, params[k]))
            return cross_entropy(torch.addmm(params[-1], hidden, params[-2]), self.y[rows])

    def update(self, loss: torch.Tensor) -> None:
        """Backward, Adam, and on to the next step."""
        loss.backward()
        self.optimizer.step()
        self.total.add_(loss.detach())
        self.cursor.add_(1)

    def epoch(self, step: Callable[[], Any]) -> float:
        """All steps; the mean of their losses, on the host."""
        self.cursor.zero_()
        self.total.zero_()
        for _ in range(len(self.order)):
            step()
        return float(self.total) / len(self.order)

    def restart(self) -> None:
        """The first step and parameters again, and moments that know nothing, where they lie."""
        self.cursor.zero_()
        with torch.no_grad():
            for param, value in zip(self.params, self.first, strict=True):
                param.copy_(value)
            for state in self.optimizer.state.values():
                for buffer in state.values():
                    buffer.zero_()


def _eager(job: Job) -> Callable[[], float]:
    trainer = Trainer(job, capturable=False)

    def step() -> None:
        trainer.optimizer.zero_grad(set_to_none=True)
        trainer.update(trainer.loss())

    return lambda: trainer.epoch(step)


def _compiled(job: Job) -> Callable[[], float]:
    """Forward and backward as CUDA graphs. What stays where it is is marked, or the graphs would copy it every time."""
    trainer = Trainer(job, capturable=True)
    for tensor in (trainer.X, trainer.y, trainer.order, trainer.cursor, *trainer.params):
        torch._dynamo.mark_static_address(tensor, guard=False)
    forward = torch.compile(trainer.loss, mode="reduce-overhead")

    def step() -> None:
        torch.compiler.cudagraph_mark_step_begin()
        trainer.optimizer.zero_grad(set_to_none=True)
        trainer.update(forward())

    return lambda: trainer.epoch(step)


def _captured(job: Job) -> Callable[[], float]:
    """The whole step, Adam included, as one CUDA graph; warmed up on a stream of its own, as PyTorch asks for."""
    trainer = Trainer(job, capturable=True)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_STEPS):
            trainer.optimizer.zero_grad(set_to_none=True)
            trainer.update(trainer.loss())
    torch.cuda.current_stream().wait_stream(stream)
    trainer.restart()
    graph = torch.cuda.CUDAGraph()
    trainer.optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        trainer.update(trainer.loss())
    return lambda: trainer.epoch(graph.replay)


EPOCHS = {"cuda": _eager, "cuda-compile": _compiled, "cuda-captured": _captured}


def gpu_train(job: Job) -> Task:
    """An epoch a call, in the form of the contender's variant."""
    return Task(EPOCHS[pytorch.variant()](job), lambda loss: [loss])


def gpu_cross_entropy(job: Job) -> Task:
    """Loss and gradient by autograd; a captured form of it is not offered."""
    logits, labels = (
        torch.from_numpy(array).to(pytorch.device()) for array in gpu_data.logits_and_labels(job)
    )
    logits.requires_grad_()
    loss_of = torch.compile(cross_entropy) if pytorch.variant() == "cuda-compile" else cross_entropy
    return Task(
        lambda: torch.autograd.grad(loss_of(logits, labels), logits)[0],
        lambda gradient: sample(gradient.cpu().numpy()),
    )


OPERATIONS = {"gpu_train": gpu_train, "gpu_cross_entropy": gpu_cross_entropy}
