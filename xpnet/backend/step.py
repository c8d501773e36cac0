"""What a training step offers, so that the training loop never knows which one it drives."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from xpnet.backend.parameters import Parameters
from xpnet.backend.spec import NetworkSpec
from xpnet.ops import Array


@dataclass
class StepState:
    """All that changes while a network trains, as NumPy arrays on the host: what a checkpoint holds.

    params : parameters by name
    buffers : the optimizer's arrays, by buffer name (velocity, m, v) and parameter name
    t : number of updates made
    """

    params: dict[str, Any]
    buffers: dict[str, dict[str, Any]] = field(default_factory=dict)
    t: int = 0


@dataclass(frozen=True)
class BatchPart:
    """Which part of a larger batch some rows are, where several processes share one batch.

    total_weight : sum of the sample weights of the whole batch (its number of rows where there are none); the loss and
        the gradient are this part's sums divided by it, so that those of all parts add up to the batch's mean
    first_row : how many rows of the whole batch stand before these; dropout masks are drawn by it
    penalized : whether the penalty is added here; exactly one part of a batch adds it
    """

    total_weight: float
    first_row: int = 0
    penalized: bool = True


class Step(Protocol):
    """A network's parameters, gradients and optimizer state, and what can be done with them.

    Arrays that come in belong to the step's backend: X (rows, in) has the dtype of the spec; Y is class indices (rows,)
    integer or one-hot or soft labels (rows, classes) for softmax cross-entropy, (rows, out) of the spec's dtype for the
    other losses; sample_weight is (rows,) of the spec's dtype or None. Shapes and labels have been validated: a step
    checks neither. Memory for gradients and optimizer state is taken when they are first needed, never to predict.

    spec : what the step was made from
    params : by name
    penalty : the part of the last returned loss that is the L2 penalty
    """

    spec: NetworkSpec
    params: Parameters
    penalty: float

    @property
    def gradients(self) -> Parameters:
        """By name, what ``gradient`` filled in last."""

    @property
    def why(self) -> str:
        """One sentence for a person: what runs here, and why."""

    def running(self) -> AbstractContextManager[None]:
        """Held open around many calls: what is costly to set up for each (thread limits, say) is done once."""

    def epoch(
        self,
        X: Array,
        Y: Array,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """Minibatches over all rows: for each, the gradient, then the update. The last may be smaller.

        order : (rows,) int64, a NumPy permutation of the rows, or None for the order in which they lie
        returns the mean over rows (weighted) of the loss, penalty included, each batch at the parameters before its
        update; 0.0 for no rows
        """

    def forward(self, X: Array) -> Array:
        """Outputs after the output activation, for any number of rows: (rows, in) -> (rows, out).

        softmax cross-entropy gives softmax, logistic cross-entropy the logistic function, squared error the values
        themselves, poisson exp.
        """

    def loss(self, X: Array, Y: Array, *, sample_weight: Array | None = None, rows: Any = None) -> float:
        """Mean loss over rows (weighted), penalty included; no gradient, no dropout, no update, and no memory that grows
        with the rows.

        rows : (n,) int64, a NumPy array of indices into X, Y and sample_weight; None for all rows, as they lie
        returns 0.0 for no rows
        """

    def gradient(
        self,
        X: Array,
        Y: Array,
        *,
        sample_weight: Array | None = None,
        rows: Any = None,
        part: BatchPart | None = None,
    ) -> float:
        """Fills ``gradients`` from rows as one batch (penalty included) and returns the loss. Updates nothing.

        rows : (n,) int64, a NumPy array of indices into X, Y and sample_weight; None for all rows, as they lie
        part : what the rows are of a larger batch; None where they are the whole batch. No rows at all are a part, too:
            their gradient is zero (or the penalty's)
        """

    def update(self, *, learning_rate: float) -> None:
        """One update of the parameters from ``gradients`` by the spec's rule."""

    def state(self) -> StepState:
        """A copy of all that changes."""

    def load_state(self, state: StepState) -> None:
        """Take over a state: parameters always, buffers where the state has them (else they start from zero)."""


class CheckingStep(Step, Protocol):
    """A step that can look for NaN and infinity while it has the rows at hand, which saves a pass over X."""

    def forward_finite(self, X: Array) -> Array | None:
        """As ``forward``; None where X holds NaN or infinity."""
