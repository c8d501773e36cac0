"""Callbacks of xpnet's own training loop, for a fit."""

from collections.abc import Sequence
from typing import Self

from xpnet.training import Callback, TrainingState


class Watched:
    """An estimator whose next fit callbacks may see."""

    _watchers: Sequence[Callback] = ()
    _resume_from: TrainingState | None = None

    def watch(self, callbacks: Sequence[Callback], *, resume_from: TrainingState | None = None) -> Self:
        """Let callbacks of :mod:`xpnet.training` see the epochs of the next ``fit``.

        They see when it ends, and why: it warns of nothing then, and Ctrl-C is raised behind a whole update.

        Parameters
        ----------
        callbacks : sequence of Callback
            Told of each epoch; one that sets ``training.stop`` ends the training.
        resume_from : TrainingState, optional
            The state of a fit that was cut off, with the same data and settings but for ``max_iter``.

        Returns
        -------
        Self
            The estimator itself.
        """
        self._watchers, self._resume_from = list(callbacks), resume_from
        return self

    def _unwatch(self) -> None:
        """Forget the callbacks of a fit that has ended."""
        for name in ("_watchers", "_resume_from"):
            vars(self).pop(name, None)
