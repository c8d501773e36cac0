"""The peak of a processor: as many fused multiply-adds as the products of a job, in registers."""

from concurrent.futures import ThreadPoolExecutor
from ctypes import CFUNCTYPE, c_double, c_int64
from importlib.metadata import version

from llvmlite import binding

from xpnet import BackendError
from xpnet_bench.contenders.contender import Contender, Task
from xpnet_bench.jobs import Job
from xpnet_bench.measure.pinning import allowed_threads

ACCUMULATORS = 12
"""Number of vectors that are added to in turn. A processor of today begins two operations a cycle
and ends them four cycles later, so that eight are under way; 12 fit into the registers of each."""

VECTOR_BYTES = {"avx512f": 64, "avx": 32}
"""Bytes of the widest vector by the feature of the processor; without any of these 16."""

TYPES = {"float32": ("float", "f32", 4), "float64": ("double", "f64", 8)}
"""LLVM's name of a dtype, that in the name of an intrinsic, and its bytes."""


class Peak(Contender):
    """Fused multiply-adds whose operands are all in registers, in as many threads as the run has.

    A call makes as many floating-point operations as the matrix products of the job's units, so
    that its time over that of a contender is the share of the peak at which the contender computes.
    """

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        if not binding.get_host_cpu_features().get("fma", True):
            raise BackendError("needs a processor with fused multiply-adds")
        self.threads = allowed_threads()
        self.pool = ThreadPoolExecutor(self.threads, "peak")

    def facts(self) -> dict[str, str]:
        return {"llvmlite": version("llvmlite"), "vector bytes": str(vector_bytes())}

    def make_train(self, job: Job) -> Task:
        """Make the operations of all units of a job, divided among the threads."""
        loop = RegisterLoop(job.dtype)
        count = max(1, job.units * job.flops // (self.threads * loop.flops))
        return Task(lambda: list(self.pool.map(loop.run, [count] * self.threads)))


def vector_bytes() -> int:
    """Return the bytes of the widest vector of this processor."""
    features = binding.get_host_cpu_features()
    return next((size for name, size in VECTOR_BYTES.items() if features.get(name)), 16)


class RegisterLoop:
    """A compiled loop of fused multiply-adds in registers.

    flops : floating-point operations in a turn of the loop
    """

    def __init__(self, dtype: str) -> None:
        lanes = vector_bytes() // TYPES[dtype][2]
        self.flops = 2 * lanes * ACCUMULATORS
        self._engine = _compile(_source(dtype, lanes))  # it owns the code
        self._function = CFUNCTYPE(c_double, c_int64)(self._engine.get_function_address("peak"))

    def run(self, turns: int) -> float:
        """Run the loop while other Python threads run too, and return the sum of the first lanes.

        turns : number of turns, at least 1
        """
        result: float = self._function(turns)
        return result


def _compile(source: str) -> binding.ExecutionEngine:
    """Compile LLVM's instructions for this processor."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3
    )
    engine = binding.create_mcjit_compiler(binding.parse_assembly(source), machine)
    engine.finalize_object()
    return engine


def _source(dtype: str, lanes: int) -> str:
    """Return the loop in LLVM's instructions: a = a / 2 + 1 for each accumulator a.

    Each accumulator approaches 2. The function returns the sum of their first lanes, so that no
    compiler leaves the loop out.
    """
    number, suffix, _ = TYPES[dtype]
    vector, fma = f"<{lanes} x {number}>", f"@llvm.fma.v{lanes}{suffix}"

    def splat(value: float) -> str:
        return "<" + ", ".join([f"{number} {value}"] * lanes) + ">"

    accumulators = range(ACCUMULATORS)
    phis = [
        f"  %a{k} = phi {vector} [ {splat(float(k + 1))}, %entry ], [ %b{k}, %loop ]"
        for k in accumulators
    ]
    steps = [
        f"  %b{k} = call {vector} {fma}({vector} %a{k}, {vector} {splat(0.5)}, "
        f"{vector} {splat(1.0)})"
        for k in accumulators
    ]
    sums = [
        f"  %s{k + 1} = fadd {vector} %s{k}, %b{k + 1}" if k else f"  %s1 = fadd {vector} %b0, %b1"
        for k in range(ACCUMULATORS - 1)
    ]
    widened = "%first" if number == "double" else "%wide"
    widen = [] if number == "double" else [f"  %wide = fpext {number} %first to double"]
    return "\n".join(
        [
            f"declare {vector} {fma}({vector}, {vector}, {vector})",
            "define double @peak(i64 %count) {",
            "entry:",
            "  br label %loop",
            "loop:",
            "  %k = phi i64 [ 0, %entry ], [ %next, %loop ]",
            *phis,
            *steps,
            "  %next = add i64 %k, 1",
            "  %again = icmp slt i64 %next, %count",
            "  br i1 %again, label %loop, label %end",
            "end:",
            *sums,
            f"  %first = extractelement {vector} %s{ACCUMULATORS - 1}, i32 0",
            *widen,
            f"  ret double {widened}",
            "}",
        ]
    )
