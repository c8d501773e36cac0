"""Training of many networks of one shape side by side: each thread runs whole epochs of one network
after the other.

The networks are divided into lanes, one for each thread. The networks of a lane share a workspace,
which stays in a core's cache. Orders of the rows are drawn here in the same way as in NumPy, so
that an epoch of all networks is one call of compiled code.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy
from numba import types

from xpnet.backend import get_threads
from xpnet_numba.kinds import Indices, Pointer
from xpnet_numba.llvm.arithmetic import choice, high_product
from xpnet_numba.llvm.emit import INNER, njit
from xpnet_numba.llvm.memory import LINE, array, call, shift
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.compiling import c_function
from xpnet_numba.runtime.memory import check_memory
from xpnet_numba.step import functions
from xpnet_numba.step.arrays import CallData, batch_sizes, set_data
from xpnet_numba.step.forward import integers, numbers
from xpnet_numba.step.job import Job, address_of, job_class
from xpnet_numba.step.plan import Plan
from xpnet_numba.step.workspace import Workspace

u8 = numpy.uint64
WORDS = 6
"""Number of words of a random generator: state and increment, each with the lower half first;
whether 32 spare bits exist; the spare bits.
"""

MULTIPLIER_LOW, MULTIPLIER_HIGH = u8(0x4385DF649FCCF645), u8(0x2360ED051FC65DA4)
"""The multiplier of PCG64, XSL RR 128/64 (O'Neill, PCG: A family of simple fast space-efficient
statistically good algorithms for random number generation, 2014).
"""

LOWER_HALF = u8(0xFFFFFFFF)


def train_many(jobs_at: Pointer, me: int) -> None:
    """The C function of an epoch of some networks.

    jobs_at : a job for each network; the first also has the fields for all networks
    """
    shared = array(jobs_at, 1)[0]
    lanes = shared.lanes
    for i in range(lanes):
        lane = (me + i) % lanes
        if not threads.claim(shared.lanes_at, lane, 0):
            continue
        first = shared.first_piece
        for k in range(first + (lane - first) % lanes, shared.end_piece, lanes):
            job = array(shift(jobs_at, k), 1)[0]
            integers(job.claims_at, 0, (job.done_at - job.claims_at) // 8 + 1)[:] = 0
            numbers(job.totals_at, 0, (job.blocks + job.slices) * (LINE // 8))[:] = 0
            if shared.rng_states_at:
                order, rows = (
                    integers(job.order_at, 0, job.rows),
                    integers(job.rows_at, 0, job.rows),
                )
                for row in range(rows.size):
                    order[row] = rows[row]
                shuffle(integers(shared.rng_states_at, k * WORDS, WORDS), order)
            call(shared.train_at, (shift(jobs_at, k), 0))


@njit(**INNER)
def shuffle(state: Indices, order: Indices) -> None:
    """Shuffle in place, as ``Generator.shuffle`` does with the bits of PCG64: by masked numbers of
    32 bits.

    state : (WORDS,), that of the generator, which moves on; order : (rows,)
    """
    low, high, step_low, step_high = u8(state[0]), u8(state[1]), u8(state[2]), u8(state[3])
    has_spare, spare, mask, one = u8(state[4]), u8(state[5]), u8(0), u8(1)
    last = order.size - 1
    while mask < u8(last):
        mask = mask << one | one
    while last > 0:
        if u8(last) <= mask >> one:
            mask >>= one
        if has_spare:
            drawn, has_spare = spare, u8(0)
        else:
            high = (
                high_product(low, MULTIPLIER_LOW)
                + low * MULTIPLIER_HIGH
                + high * MULTIPLIER_LOW
                + step_high
            )
            low = low * MULTIPLIER_LOW + step_low
            if low < step_low:
                high += one
            mixed, turn = high ^ low, high >> u8(58)
            mixed = mixed >> turn | mixed << (u8(64) - turn & u8(63))
            drawn, spare, has_spare = mixed & LOWER_HALF, mixed >> u8(32), one
        place = numpy.int64(drawn & mask)
        fits = place <= last
        # A number that is too large is drawn again; a jump would take longer.
        place = choice(fits, place, last)
        order[place], order[last] = order[last], order[place]
        last -= choice(fits, 1, 0)
    state[0], state[1], state[4], state[5] = low, high, has_spare, spare


@cache
def many_function(dtype: str) -> int:
    """Return the address of the C function of an epoch of many networks."""
    return c_function(train_many, functions.signature_of(dtype))


SHUFFLE = types.void(types.int64[::1], types.int64[::1])


@cache
def draws_as_numpy() -> bool:
    """Return whether this version of NumPy shuffles as :func:`shuffle` does. NumPy does not
    guarantee it.
    """
    order = numpy.arange(1000)
    rng = numpy.random.default_rng(0)
    threads.entry(shuffle, SHUFFLE)(words_of(rng), order)
    return numpy.array_equal(order, rng.permutation(1000))


def words_of(rng: "numpy.random.Generator") -> numpy.ndarray:
    """Return the state of a Generator over PCG64, (WORDS,) int64."""
    state = rng.bit_generator.state
    halves = [half for n in state["state"].values() for half in (n & 2**64 - 1, n >> 64)]
    return numpy.array([*halves, state["has_uint32"], state["uinteger"]], "uint64").view("int64")


def set_words(rng: "numpy.random.Generator", words: numpy.ndarray) -> None:
    """Set the state of a Generator over PCG64."""
    low, high, step_low, step_high, has_spare, spare = map(int, words.view("uint64"))
    state = {"state": low | high << 64, "inc": step_low | step_high << 64}
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": state,
        "has_uint32": has_spare,
        "uinteger": spare,
    }


class ManyTrainings:
    """Holds the jobs of networks that train side by side, and the workspaces of the lanes.

    steps : compiled steps of one shape
    rngs : one Generator over PCG64 for each network, or None where rows are not shuffled
    """

    def __init__(self, steps: Sequence[Any], data: list[CallData], plan: Plan, rngs: Any) -> None:
        self.steps = steps
        self.data = data
        self.rngs = rngs
        spec = steps[0].spec
        self.lanes = min(get_threads(), len(steps))
        label_width = max(0 if of_one.order is None else of_one.label_width for of_one in data)
        self._workspaces = [
            Workspace(spec, plan, label_width, threads=1, products=steps[0].products)
            for _ in range(self.lanes)
        ]
        check_memory(sum(w.nbytes for w in self._workspaces), f"Training on {self.lanes} threads")
        max_rows = max(of_one.rows for of_one in data) if rngs else 0
        self._orders = numpy.zeros((self.lanes, max_rows), numpy.int64)
        self._claims = numpy.zeros(self.lanes, numpy.int64)
        self.jobs = (job_class(spec.dtype) * len(steps))()
        for k, (step, of_step) in enumerate(zip(steps, data, strict=True)):
            self.jobs[k] = self._job_of(step, of_step, k % self.lanes)
            self._workspaces[k % self.lanes].bind(self.jobs[k])
        first = self.jobs[0]
        first.lanes, first.lanes_at = self.lanes, address_of(self._claims)
        first.train_at = functions.job_function("train", spec.dtype, members=spec.members > 1)
        if rngs:
            self._words = numpy.stack([words_of(rng) for rng in rngs])
            first.rng_states_at = address_of(self._words)

    def _job_of(self, step: Any, data: CallData, lane: int) -> Job:
        """Return the job of one network: an epoch on its rows."""
        job, workspace = step.separate_job(), self._workspaces[lane]
        data.sums = data.shares = batch_sizes(data.rows, workspace.plan.batch_rows)
        set_data(job, data, step.spec)
        job.threads, job.steps, job.updating, job.penalized = 1, data.sums.size, 1, step.spec.l2 > 0
        if self.rngs:
            job.rows_at, job.order_at = job.order_at, address_of(self._orders[lane])
        return job

    def epoch(self, first: int, learning_rates: Sequence[float]) -> list[float]:
        """Train some networks for an epoch, from number ``first`` on; return their losses."""
        job, function = self.jobs[0], many_function(self.steps[0].spec.dtype)
        job.first_piece, job.end_piece = first, first + len(learning_rates)
        self._claims.fill(0)
        for workspace in self._workspaces:
            workspace.begin_call()
        steps = self.steps[first : job.end_piece]
        for step, learning_rate in zip(steps, learning_rates, strict=True):
            step.set_learning_rate(learning_rate)
        threads.team.lead(threads.share_entry(), self.lanes, function, ctypes.addressof(self.jobs))
        return [step.take_over(self.jobs[k]) for k, step in enumerate(steps, start=first)]

    def close(self) -> None:
        """Set the random generators to their states after the drawn orders."""
        if self.rngs:
            for rng, words in zip(self.rngs, self._words, strict=True):
                set_words(rng, words)
