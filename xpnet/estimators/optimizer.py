"""What trains an estimator: a training step with its state, and a learning rate on scikit-learn's schedules."""

from copy import copy
from dataclasses import replace
from typing import Any

from xpnet.backend import Backend, NetworkSpec, Step, StepState, UpdateRule
from xpnet.dispatch.choice import library_of
from xpnet.estimators.sparse import sparse_step
from xpnet.ops import Array
from xpnet.steps import make_step

SMALLEST_RATE = 1e-6
"""Below this an adaptive learning rate ends the training, as in scikit-learn."""


class Optimizer:
    """Keeps the update rule and learning rate it began with; the rest of the network's description may change.

    solver : whose rule it is
    seed : of dropout masks
    learning_rate : of the next epoch
    schedule : ``"constant"``, ``"invscaling"`` or ``"adaptive"``
    """

    def __init__(
        self, solver: str, rule: UpdateRule, seed: int, learning_rate: float, schedule: str, power_t: float
    ) -> None:
        self.solver, self.rule, self.seed, self.schedule, self.power_t = solver, rule, seed, schedule, power_t
        self.learning_rate = self.learning_rate_init = float(learning_rate)
        self.step: Step | None = None
        self.state: StepState | None = None
        self._made_for: tuple[Any, ...] = ()
        self._exported: tuple[list[Any], list[Any]] = [], []

    def ready(self, spec: NetworkSpec, backend: Backend, *, sparse: bool) -> Step:
        """The step for this network on this backend, with the state of the one before it where that was another."""
        spec = replace(spec, rule=self.rule, seed=self.seed)
        made_for = spec, backend, sparse
        if self.step is None or self._made_for != made_for:
            self.leave()
            self.step = sparse_step(spec) if sparse else make_step(spec, backend)
            self._made_for = made_for
            if self.state is not None:
                self.step.load_state(self.state)
        return self.step

    def lives_on(self, backend: Backend) -> bool:
        """Whether there is a step on this backend."""
        return self.step is not None and self._made_for[1] is backend

    def leave(self) -> None:
        """Keep the numbers on the host and let go of the step."""
        if self.step is not None:
            self.state, self.step = self.step.state(), None
        self._exported = [], []

    def twin(self) -> "Optimizer":
        """A copy that shares nothing and holds no step: what is pickled."""
        other = copy(self)
        other.leave()
        other._made_for = ()
        return other

    def load(self, coefs: list[Any], intercepts: list[Any]) -> None:
        """Take over these parameters, if they are not the step's own."""
        assert self.step is not None
        if not self.holds(coefs, intercepts):
            values = [array for pair in zip(coefs, intercepts, strict=True) for array in pair]
            self.step.params.update(zip(self.step.spec.parameter_names, values, strict=True))

    def parameters(self) -> tuple[list[Array], list[Array]]:
        """The step's weights and biases, where they live."""
        assert self.step is not None
        arrays = [self.step.params[name] for name in self.step.spec.parameter_names]
        return arrays[::2], arrays[1::2]

    def export(self, backend: Backend) -> tuple[list[Any], list[Any]]:
        """Weights and biases as NumPy arrays: views of the step's own on the host, read-only copies from elsewhere."""
        coefs, intercepts = self.parameters()
        self._exported = [_host(a, backend) for a in coefs], [_host(a, backend) for a in intercepts]
        return list(self._exported[0]), list(self._exported[1])

    def holds(self, coefs: list[Any], intercepts: list[Any]) -> bool:
        """Whether these are the very arrays that were exported last."""
        given, exported = [*coefs, *intercepts], self._exported[0] + self._exported[1]
        return len(given) == len(exported) and all(a is b for a, b in zip(given, exported, strict=True))

    def epoch_ends(self, t: int) -> None:
        """Lower the learning rate where it falls with the number of rows seen."""
        if self.schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (t + 1) ** self.power_t

    def lower(self) -> bool:
        """Lower an adaptive learning rate when training no longer improves; returns whether there was a lower one."""
        if self.schedule != "adaptive" or self.learning_rate <= SMALLEST_RATE:
            return False
        self.learning_rate /= 5.0
        return True


def _host(array: Array, backend: Backend) -> Any:
    if library_of(array) == "numpy":
        return array
    # Writing into a copy would change nothing where the network lives, so it may not be written to.
    copied = backend.to_numpy(array).copy()
    copied.flags.writeable = False
    return copied
