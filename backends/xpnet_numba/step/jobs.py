"""The step's jobs: what the team runs for it, and how Python starts that."""

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import types

from xpnet_numba.kinds import Address, Indices, Matrix
from xpnet_numba.llvm import array, pointer
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.compiling import CFunction, c_function, filled_in
from xpnet_numba.step import evaluate, functions, members, train
from xpnet_numba.step.job import job_type

JOBS = {
    "train": train.train,
    "train_phase": train.train_phase,
    "update": train.update,
    "predict": evaluate.predict,
    "measure": evaluate.measure,
    "train_members": members.train_members,
    "predict_members": members.predict_members,
    "measure_members": members.measure_members,
}
"""The C functions of the step's jobs."""


@cache
def job_function(name: str, dtype: str) -> CFunction:
    """The C function of a job, which the cache keeps alive."""
    return c_function(JOBS[name], signature_of(dtype))


def signature_of(dtype: str) -> Any:
    """The signature of every job."""
    return types.void(types.CPointer(job_type(dtype)), types.int64)


def _lead_prediction(
    board: Address,
    number: int,
    count: int,
    function: Address,
    job_at: Address,
    x: Matrix,
    result: Matrix,
    claims: Indices,
) -> None:
    """Tell a prediction's job of X and of where the outputs go, and share it."""
    job = array(pointer(job_at, JOB), 1)[0]
    job.x_at, job.x_row, job.result_at = x.ctypes.data, x.strides[0] // x.itemsize, result.ctypes.data
    job.starts_at = 0
    job.rows, job.blocks, job.threads, job.claims_at = x.shape[0], claims.size, count, claims.ctypes.data
    threads.share(board, number, count, function, job_at)


JOB: Any = None  # stands above for the type of the job


@cache
def prediction_entry(dtype: str) -> Callable[..., None]:
    """:func:`_lead_prediction` as Python calls it: told by arrays, it takes a third of the time of setting each
    field.
    """
    number, item = types.int64, functions.ITEMS[dtype]
    arrays = types.Array(item, 2, "A"), types.Array(item, 2, "C"), types.Array(types.int64, 1, "C")
    lead = filled_in(_lead_prediction, f"lead_prediction_{dtype}", JOB=job_type(dtype))
    return threads.entry(lead, types.void(*[number] * 5, *arrays))
