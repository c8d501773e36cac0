"""``python -m xpnet_bench`` is ``xpnet bench``."""

from xpnet_bench.cli import bench

bench(prog_name="xpnet bench")
