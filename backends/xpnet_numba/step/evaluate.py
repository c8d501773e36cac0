"""Prediction and validation: outputs or losses of any number of rows, block by block, so that memory does not grow with
them.
"""

from xpnet_numba.kinds import Pointer
from xpnet_numba.llvm import INNER, array, call, fetch_add, flush_denormals, njit, restore_denormals, smaller
from xpnet_numba.runtime.threads import claim
from xpnet_numba.step.forward import forward, loss_of
from xpnet_numba.step.job import Job
from xpnet_numba.step.places import Masks, Rows, gather_x, layers_of, matrix, numbers, result_of, vector


def predict(job_at: Pointer, me: int) -> None:
    """The C function of a prediction. Where it is asked for, blocks of X with NaN or infinity are counted while they
    are in the cache.
    """
    job, mode = array(job_at, 1)[0], flush_denormals()
    layers = layers_of(job)
    for i in range(job.blocks):
        block = (me * job.blocks // job.threads + i) % job.blocks
        if job.threads > 1 and not claim(job.claims_at, block, 0):
            continue
        rows = rows_of(job, block, me)
        x = matrix(job, job.x_at, rows.first * job.x_row, rows.number, job.x_row)
        out = matrix(job, job.result_at, rows.first * job.outputs, rows.number, job.outputs)
        forward(job, layers, x, rows, out, Masks(-1, 0), me)
        call(job.output_at, (out,))
        if job.nonfinite_at:
            found = result_of(job, me)
            call(job.nonfinite_function_at, (x, job.inputs, found))
            fetch_add(job.nonfinite_at, int(found[0]))
    restore_denormals(mode)


def measure(job_at: Pointer, me: int) -> None:
    """The C function of a validation: to ``totals`` (blocks,) goes the sum of each block's losses times sample
    weights.
    """
    job, mode = array(job_at, 1)[0], flush_denormals()
    layers = layers_of(job)
    for i in range(job.blocks):
        block = (me * job.blocks // job.threads + i) % job.blocks
        if job.threads > 1 and not claim(job.claims_at, block, 0):
            continue
        rows = rows_of(job, block, me)
        out = matrix(job, job.deltas_at, rows.place * job.outputs, rows.number, job.outputs)
        x = out if job.starts_at else gather_x(job, rows, me)  # of a sparse X, x is not read
        forward(job, layers, x, rows, out, Masks(-1, 0), me)
        # The loss comes with its gradient, for which nobody asks.
        d_bias = vector(job, job.partials_at, me * job.outputs, job.outputs)
        numbers(job.totals_at, block, 1)[0] = loss_of(job, out, rows, 1.0, d_bias, me)
    restore_denormals(mode)


@njit(**INNER)
def rows_of(job: Job, block: int, me: int) -> Rows:
    """A block's rows; their place in the buffers is the thread's own."""
    first = block * job.block_rows
    return Rows(first, smaller(job.block_rows, job.rows - first), me * job.block_rows)
