"""The benchmarks of a card over the stand-in for CuPy: ``small_bench OPTION ...``, as ``python -m
xpnet_bench``.

A contender is measured in a process that is spawned, which imports this module again: it has the
stand-in, too, and rates of a card that are measured with few numbers.
"""

from helpers.cuda import cupy_on_host

cupy_on_host.pytest_configure()

from xpnet_bench.contenders import gpu_floor  # noqa: E402

gpu_floor.COPIED, gpu_floor.SIDE = 1000, 8

if __name__ == "__main__":
    from xpnet_bench.cli import bench

    bench(prog_name="xpnet bench")
