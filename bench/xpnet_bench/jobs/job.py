"""The description of a job: small, frozen, and able to travel to another process as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

FLOAT32_BITS, TF32_BITS, BFLOAT16_BITS = 23, 10, 7
PRECISIONS = {FLOAT32_BITS: "float32", TF32_BITS: "TF32", BFLOAT16_BITS: "bfloat16"}
"""Number formats of what products take, by the bits of their fraction."""


@dataclass(frozen=True)
class Job:
    """One task that each contender does in its own way.

    name : unique among all jobs, for a person
    suite : one of ``SUITES``
    operation : name of the method ``make_...`` of a contender that prepares it
    group : the section of the report that shows it
    sizes : the numbers that fix the arrays (rows, classes, batch, ...)
    dtype : ``float32`` or ``float64``
    units : how many updates one call makes; times are reported for one
    traffic : bytes that one call must at least read and write, 0 where that says nothing
    flops : floating-point operations of the matrix products in one unit of a training job
    threads : threads for every contender, 0 for all that the run may use
    data : path of the data file or name of one of scikit-learn's data sets, "" for made-up data
    single_calls : whether each call is timed alone, which percentiles of latency need
    """

    name: str
    suite: str
    operation: str
    group: str
    sizes: dict[str, int] = field(default_factory=dict, hash=False)
    dtype: str = "float32"
    units: int = 1
    traffic: int = 0
    flops: int = 0
    threads: int = 0
    data: str = ""
    single_calls: bool = False

    def to_json(self) -> dict[str, Any]:
        """The job as plain data; ``Job(**data)`` makes it again."""
        return asdict(self)


def training_flops(widths: Sequence[int], rows: int) -> int:
    """Floating-point operations of the products in a step of training, forward and backward.

    Three products a layer, each of two operations for a row and a parameter; the first layer needs
    no gradient with respect to its input.
    """
    products = [fan_in * fan_out for fan_in, fan_out in zip(widths, widths[1:], strict=False)]
    return 2 * rows * (3 * sum(products) - products[0])


def widths_of(job: Job) -> tuple[int, ...]:
    """Columns of the input, units of each hidden layer, classes."""
    sizes = job.sizes
    return sizes["features"], *[sizes["hidden"]] * sizes.get("layers", 1), sizes["classes"]
