"""The orders of the rows: drawn epoch by epoch, prefetched while a device works, undone with an
epoch.

A prefetched order does not show in the random generator: the generator is put back, and moves on
when the next epoch begins. If it has been drawn from in the meantime, or has another state, the
order is drawn again.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy

from xpnet.backend import PrefetchedOrders, Step
from xpnet.errors import InputError
from xpnet.training.rng import put_state, rng_state, set_rng_state
from xpnet.typing import SavedState

if TYPE_CHECKING:  # importing numpy.random takes time that few programs need
    from numpy.random import RandomState

MIN_PREFETCHED_ROWS = 1_000
"""Minimum rows of a prefetched order. Drawing fewer takes less time than reading and setting a
Generator's state.
"""

MIN_PREFETCHED_ROWS_LEGACY = 20_000
"""Minimum rows of a prefetched order for a RandomState, whose state is a table of 624 words."""

MAX_REDRAWN_ROWS = 2**13
"""Maximum rows in the orders that are drawn again to undo an epoch."""


DrawnOrder: TypeAlias = Any
"""The order of the rows of an epoch, as it is drawn: (rows,) or (members, rows) int64; over a
source a `xpnet.training.streamed.BlockOrder`.
"""


class _Prefetched(NamedTuple):
    """A prefetched order, and the states of the generator before and after it."""

    order: numpy.ndarray
    before: SavedState | None
    after: SavedState | None


class OrderDrawer:
    """Draws the orders of the rows from a random generator, and can go back to the beginning of an
    epoch.

    rng : a random generator of NumPy's, or an object with its method ``permutation`` and a state
    rows : number of rows in an order; members : number of orders drawn for an epoch, each for one
    member of a network; prefetches : whether a step may have the next order drawn
    """

    def __init__(self, rng: Any, rows: int, members: int = 1, *, prefetches: bool = True) -> None:
        self.rng = rng
        self.rows = rows
        self.members = members
        self._prefetched: _Prefetched | None = None
        self._known_state: SavedState | None = None  # a state of the generator
        self._drawn_since = 0  # orders that were drawn since then
        minimum = (
            MIN_PREFETCHED_ROWS
            if isinstance(rng, numpy.random.Generator)
            else MIN_PREFETCHED_ROWS_LEGACY
        )
        self._can_prefetch = prefetches and members == 1 and rows >= minimum

    def draw(self, step: Step, *, last: bool) -> DrawnOrder:
        """Draw the order of an epoch; let the step prefetch the next one.

        last : whether no epoch follows
        """
        self._drawn_since += self.members
        if self.members > 1:
            return numpy.stack([self.rng.permutation(self.rows) for _ in range(self.members)])
        if not (self._can_prefetch and isinstance(step, PrefetchedOrders)):
            return self._drawn()
        order = self._take_prefetched()
        if not last:
            step.prefetch_order = self._prefetch
        return order

    def _drawn(self) -> DrawnOrder:
        """Draw an order."""
        return self.rng.permutation(self.rows)

    def _prefetch(self) -> DrawnOrder:
        """Draw the next order, and put the generator back."""
        before = rng_state(self.rng)
        order = self._drawn()
        self._prefetched = _Prefetched(order, before, rng_state(self.rng))
        put_state(self.rng, before)
        return order

    def _take_prefetched(self) -> DrawnOrder:
        """Return the prefetched order if the generator has not moved since; else draw one."""
        prefetched = self._prefetched
        self._prefetched = None
        if prefetched is None or not _equal_states(prefetched.before, rng_state(self.rng)):
            return self._drawn()
        put_state(self.rng, prefetched.after)
        return prefetched.order

    def snapshot(self, *, shared: bool) -> Callable[[], None]:
        """Note where the generator is before an epoch; return a function that puts it back.

        Reading a state takes as long as shuffling hundreds of rows, or thousands with a
        RandomState. So the state is read once for several epochs, whose orders are drawn again when
        an epoch is undone, unless the generator is shared.

        shared : whether others, such as callbacks, may draw from the generator, too
        """
        if shared or self._known_state is None or self._drawn_since * self.rows > MAX_REDRAWN_ROWS:
            self._known_state = rng_state(self.rng)
            self._drawn_since = 0
        drawn_before = self._drawn_since

        def go_back() -> None:
            """Return to the last known state, and draw the orders again that were drawn since."""
            set_rng_state(self.rng, self._known_state)
            for _ in range(drawn_before):
                self.rng.permutation(self.rows)
            self._drawn_since = drawn_before

        return go_back


class ChainedOrders:
    """Draws orders of the rows, each a shuffle of the one before it, as scikit-learn does.

    It has a state as a RandomState has one, so that checkpoints hold it.

    random_state : the generator; rows : number of rows in an order
    """

    def __init__(self, random_state: "RandomState", rows: int) -> None:
        self.random_state = random_state
        self.rows = rows
        self.last: numpy.ndarray | None = None

    def permutation(self, rows: int) -> numpy.ndarray:
        """Draw the next order: (rows,) int64."""
        order = numpy.arange(rows) if self.last is None else self.last.copy()
        self.random_state.shuffle(order)
        self.last = order
        return order

    def get_state(self, *, legacy: Literal[False] = False) -> SavedState:
        """Return the state of the generator, with the last order."""
        return {**self.random_state.get_state(legacy=legacy), "last": self.last}

    def check_state(self, state: SavedState) -> None:
        """Raise InputError for a state with an order of other rows."""
        last = state["last"]
        if last is not None and not numpy.array_equal(numpy.sort(last), numpy.arange(self.rows)):
            raise InputError(
                f"The order in a checkpoint must hold each of {self.rows} rows once; got one that "
                "does not; use an undamaged checkpoint of the same data."
            )

    def set_state(self, state: SavedState) -> None:
        """Go on from a state. Raises ValueError for another object."""
        generator = {name: value for name, value in state.items() if name != "last"}
        self.random_state.set_state(generator)
        self.last = state["last"]


def _equal_states(one: object, other: Any) -> bool:
    """Return whether two states are equal; arrays that are one object are not compared."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            _equal_states(one[key], other[key]) for key in one
        )
    if isinstance(one, numpy.ndarray):
        return one is other or numpy.array_equal(one, other)
    return bool(one == other)
