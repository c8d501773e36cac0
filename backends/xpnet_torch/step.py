"""The training step on PyTorch: the graph of an update, compiled by ``torch.compile``."""

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from xpnet.ops import Array
from xpnet.steps.traced import BatchInputs, Form, Rows, TracedStep, TrainingArrays, train_on_batch
from xpnet_torch.handler_errors import HandlerErrors

Update = Callable[..., Any]
"""A function of the tensors of an update, in the order of `_tensors`."""

_compiled: dict[object, Update] = {}
"""Compiled updates by form, and by shape and dtype of their tensors."""

_failures: dict[str, str] = {}
"""Why ``torch.compile`` cannot be used, by the type of the device."""


class TorchStep(TracedStep):
    """A step whose update is one compiled function.

    It is compiled once for each description of a network and each size of batch; networks that
    differ in their seed or the strength of their penalty share it. A smaller last batch is computed
    operation by operation, and so is everything where ``torch.compile`` fails, as without a C++
    compiler.
    """

    @torch.no_grad()
    def run_batches(
        self,
        forms: tuple[Form, ...],
        state: TrainingArrays,
        rows: Rows,
        inputs: list[BatchInputs],
    ) -> tuple[TrainingArrays, Any]:
        """See :class:`xpnet.steps.traced.TracedStep`."""
        device = rows.X.device
        sums = []
        loss: Any
        squares: Any
        largest = max(form.batch_rows for form in forms)
        on_device = [
            _map(lambda array: torch.asarray(array, device=device), of_form) for of_form in inputs
        ]
        epochs = inputs[0].l2.shape[0]
        with HandlerErrors() as handler_errors:
            run_compiled = partial(self._run_compiled, handler_errors)
            for epoch, form, batches in (
                (k, form, of_form)
                for k in range(epochs)
                for form, of_form in zip(forms, on_device, strict=True)
            ):
                run = run_compiled if form.batch_rows == largest else train_on_batch
                for k in range(batches.l2.shape[1]):
                    one = _map(itemgetter((epoch, k)), batches)
                    batch = Rows(*(_rows_of(form, array, one.rows) for array in rows))
                    state, loss, squares = run(form, state, batch, one)
                    sums.append(torch.stack((loss, squares)))
        stacked: Any = torch.stack(sums)
        return state, self.backend.to_numpy(stacked.T).reshape(2, epochs, -1)

    def _run_compiled(
        self,
        handler_errors: HandlerErrors,
        form: Form,
        state: TrainingArrays,
        rows: Rows,
        inputs: BatchInputs,
    ) -> tuple[TrainingArrays, Array, Array]:
        """Call `train_on_batch`, compiled if PyTorch can compile it.

        handler_errors : raises exceptions of signal handlers that the compiler has swallowed
        """
        kind = rows.X.device.type
        if kind not in _failures:
            try:
                results = _call(form, state, rows, inputs)
                handler_errors.check()
                return results
            except (MemoryError, torch.cuda.OutOfMemoryError):
                raise
            except Exception as error:  # compilers and their drivers raise anything
                if handler_errors.first is not None:
                    raise handler_errors.first from None
                _failures[kind] = str(error).partition("\n")[0]
        self.why = (
            f"the reference step, operation by operation on {rows.X.device}, since torch.compile "
            f"failed: {_failures[kind]}"
        )
        return train_on_batch(form, state, rows, inputs)


def _call(
    form: Form, state: TrainingArrays, rows: Rows, inputs: BatchInputs
) -> tuple[TrainingArrays, Array, Array]:
    """Call the compiled update of a form, which is compiled at its first call."""
    tensors = _tensors(state, rows, inputs)
    key = form, rows.sample_weight is None, tuple((t.shape, t.dtype) for t in tensors)
    compiled = _compiled.get(key)
    if compiled is None:
        function = _function_of_tensors(form, state, rows, inputs)
        compiled = torch.compile(make_fx(function)(*tensors), mode=_mode(rows.X))
    loss, squares, *arrays = compiled(*tensors)
    _compiled[key] = compiled  # An exception may have ended the first call, which compiles.
    if rows.X.device.type == "cuda":  # the next replay of the graph overwrites its results
        loss, squares, *arrays = (tensor.clone() for tensor in (loss, squares, *arrays))
    return _state_of(arrays, state), loss, squares


def _mode(X: Array) -> str | None:
    """Return the mode of ``torch.compile``: with CUDA graphs on CUDA."""
    return "reduce-overhead" if X.device.type == "cuda" else None


def _function_of_tensors(
    form: Form, state: TrainingArrays, rows: Rows, inputs: BatchInputs
) -> Update:
    """Return `train_on_batch` as a function of a flat list of tensors."""
    has_weight = rows.sample_weight is not None
    masks = len(inputs.masks)

    def update(*tensors: Array) -> list[Array]:
        """Return loss, sum of squares, parameters and buffers after an update."""
        X, Y, l2, learning_rate, scales, *others = tensors
        weight = others.pop(0) if has_weight else None
        one = BatchInputs(None, tuple(others[:masks]), l2, learning_rate, scales)
        first = _state_of(others[masks:], state)
        new, loss, squares = train_on_batch(form, first, Rows(X, Y, weight), one)
        return [loss, squares, *new.params, *sum(new.buffers, [])]

    return update


def _tensors(state: TrainingArrays, rows: Rows, inputs: BatchInputs) -> list[Array]:
    """Return all tensors that an update reads, but for the indices of its rows."""
    weights = [] if rows.sample_weight is None else [rows.sample_weight]
    others = [*weights, *inputs.masks, *state.params, *sum(state.buffers, [])]
    return [rows.X, rows.Y, inputs.l2, inputs.learning_rate, inputs.scales, *others]


def _state_of(arrays: list[Array], like: TrainingArrays) -> TrainingArrays:
    """Return a flat list of parameters and buffers as the arrays of an update."""
    count = len(like.params)
    buffers = [arrays[start : start + count] for start in range(count, len(arrays), count)]
    return TrainingArrays(list(arrays[:count]), [list(buffer) for buffer in buffers])


def _map(function: Callable[[Any], Any], inputs: BatchInputs) -> BatchInputs:
    """Apply a function to each array of the inputs."""
    masks = tuple(function(mask) for mask in inputs.masks)
    others = (function(array) for array in (inputs.l2, inputs.learning_rate, inputs.scales))
    return BatchInputs(function(inputs.rows), masks, *others)


def _rows_of(form: Form, array: Any, rows: Any) -> Any:
    """Return the rows of a batch."""
    if array is None:
        return None
    if form.has_order:
        return array[rows]
    start = int(rows)
    return array[start : start + form.batch_rows]
