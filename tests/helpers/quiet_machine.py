"""What the state machines of random histories have in common."""

import warnings

from hypothesis.stateful import RuleBasedStateMachine

import xpnet


class Cut(Exception):
    """What a callback raises in order to end a training."""


class QuietMachine(RuleBasedStateMachine):
    """A state machine whose warnings are not shown, and which leaves the number of threads alone.

    steps : number of states that were compared, over all histories of a class
    """

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self._shown_warnings = warnings.catch_warnings()
        self._shown_warnings.__enter__()
        warnings.simplefilter("ignore")

    def teardown(self) -> None:
        xpnet.set_threads(None)
        self._shown_warnings.__exit__(None, None, None)
