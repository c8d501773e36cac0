"""A step that threads may share: every use of it waits for its turn."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy

from xpnet.backend import Backend, BatchPart, NetworkSpec, Parameters, Step, StepState
from xpnet.ops import Array, Labels
from xpnet.steps.reference import PREDICTION_ROWS
from xpnet.steps.turns import Turn


class GuardedStep:
    """A training step of any kind, used by one thread at a time; see :class:`xpnet.backend.Step`.

    step : what does the work
    backend : where its arrays live
    turn : that of a step with which it shares parameters; None for one of its own
    """

    def __init__(self, step: Step, backend: Backend, turn: Turn | None = None) -> None:
        self.step, self.backend, self.turn = step, backend, turn or Turn()
        self.spec: NetworkSpec = step.spec
        self.params: Parameters = step.params
        self.draws_ahead: bool = getattr(step, "draws_ahead", False)

    @property
    def report(self) -> Callable[[int], None] | None:
        """See :class:`xpnet.backend.step.ReportingStep`; a step that does not report takes no notice."""
        return getattr(self.step, "report", None)

    @report.setter
    def report(self, report: Callable[[int], None] | None) -> None:
        self.step.report = report  # type: ignore[attr-defined]

    @property
    def draw_next(self) -> Callable[[], Any] | None:
        """See :class:`xpnet.backend.step.DrawingStep`."""
        return getattr(self.step, "draw_next", None)

    @draw_next.setter
    def draw_next(self, draw_next: Callable[[], Any] | None) -> None:
        self.step.draw_next = draw_next  # type: ignore[attr-defined]

    @property
    def gradients(self) -> Parameters:
        """See :class:`xpnet.backend.Step`."""
        return self.step.gradients

    @property
    def penalty(self) -> float:
        """See :class:`xpnet.backend.Step`."""
        return self.step.penalty

    @property
    def why(self) -> str:
        """See :class:`xpnet.backend.Step`."""
        return self.step.why

    def running(self) -> AbstractContextManager[None]:
        """See :class:`xpnet.backend.Step`. Between the calls inside, other threads have their turns."""
        return self.step.running()

    def epoch(
        self,
        X: Array,
        Y: Labels,
        *,
        learning_rate: float,
        batch_size: int,
        order: Any = None,
        sample_weight: Array | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        with self.turn.taken():
            return self.step.epoch(
                X, Y, learning_rate=learning_rate, batch_size=batch_size, order=order, sample_weight=sample_weight
            )

    @property
    def epoch_by_batch_rows(self) -> Callable[..., float | None] | None:
        """See :class:`xpnet.backend.step.WeightingStep`; None for a step that is none."""
        return self._in_turn("epoch_by_batch_rows")

    @property
    def epoch_in_common(self) -> Callable[..., float | None] | None:
        """See :class:`xpnet.backend.step.CommonStep`; None for a step that is none."""
        return self._in_turn("epoch_in_common")

    @property
    def epoch_of_ranks(self) -> Callable[..., tuple[float, float] | None] | None:
        """The step's own, which ``GroupedStep`` asks for; None for a step that has none."""
        return self._in_turn("epoch_of_ranks")

    def _in_turn(self, name: str) -> Callable[..., Any] | None:
        """A method that not every step has, as ``epoch`` is here."""
        epoch = getattr(self.step, name, None)
        if epoch is None:
            return None

        def in_turn(*data: Any, **how: Any) -> Any:
            with self.turn.taken():
                return epoch(*data, **how)

        return in_turn

    def forward(self, X: Array) -> Array:
        """See :class:`xpnet.backend.Step`."""
        with self.turn.taken():
            return self.step.forward(X)

    def forward_finite(self, X: Array) -> Array | None:
        """As ``forward``, for rows on the host of any dtype; None where X holds NaN or infinity."""
        look = getattr(self.step, "forward_finite", None)
        with self.turn.taken():
            return self._looked_at(X) if look is None else look(numpy.asarray(X, dtype=self.spec.dtype))

    def _looked_at(self, X: Array) -> Array | None:
        """The outputs of finite rows, looked at and converted a few at a time, since X may be a large file."""
        found = []
        for start in range(0, max(X.shape[0], 1), PREDICTION_ROWS):
            part = numpy.asarray(X[start : start + PREDICTION_ROWS], dtype=self.spec.dtype)
            if not numpy.isfinite(part).all():
                return None
            found.append(self.step.forward(part))
        return found[0] if len(found) == 1 else numpy.concatenate(found)

    def loss(self, X: Array, Y: Labels, *, sample_weight: Array | None = None, rows: Any = None) -> float:
        """See :class:`xpnet.backend.Step`."""
        with self.turn.taken():
            return self.step.loss(X, Y, sample_weight=sample_weight, rows=rows)

    def data_loss(self, X: Array, Y: Labels, *, sample_weight: Array | None = None) -> float:
        """The mean loss without the penalty."""
        with self.turn.taken():
            return self.step.loss(X, Y, sample_weight=sample_weight) - self.step.penalty

    def gradient(
        self,
        X: Array,
        Y: Labels,
        *,
        sample_weight: Array | None = None,
        rows: Any = None,
        part: BatchPart | None = None,
    ) -> float:
        """See :class:`xpnet.backend.Step`."""
        with self.turn.taken():
            return self.step.gradient(X, Y, sample_weight=sample_weight, rows=rows, part=part)

    def update(self, *, learning_rate: float) -> None:
        """See :class:`xpnet.backend.Step`."""
        with self.turn.taken():
            self.step.update(learning_rate=learning_rate)

    def state(self) -> StepState:
        """See :class:`xpnet.backend.Step`."""
        with self.turn.taken():
            return self.step.state()

    def load_state(self, state: StepState) -> None:
        """See :class:`xpnet.backend.Step`."""
        with self.turn.taken():
            self.step.load_state(state)

    def values(self) -> dict[str, Any]:
        """Copies of the parameters on the host, by name, none of them from the middle of an update."""
        with self.turn.taken():
            return {name: self.backend.to_numpy(array).copy() for name, array in self.params.items()}

    def load_values(self, values: dict[str, Any]) -> None:
        """Put these parameters in the place of those there are; the optimizer's state stays."""
        with self.turn.taken():
            self.params.update(values)
