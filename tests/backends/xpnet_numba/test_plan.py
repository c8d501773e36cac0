"""How a batch is cut: every row and every parameter is somebody's, once, and threads change
nothing.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xpnet_numba.step import plan
from xpnet_numba.step.job import LayerRecord
from xpnet_numba.step.plan import Plan, make_plan

from xpnet.backend import NetworkSpec


def table(spec: NetworkSpec) -> list[LayerRecord]:
    """The layers, as far as a plan asks for them."""
    slots = spec.slots(16)
    return [
        LayerRecord(fan_in=w.shape[0], fan_out=w.shape[1], weight=w.offset, bias=b.offset)
        for w, b in zip(slots[::2], slots[1::2], strict=True)
    ]


def made(widths: tuple[int, ...], rows: int, cores: int) -> Plan:
    spec = NetworkSpec(widths, ("relu",) * (len(widths) - 2))
    return make_plan(spec, table(spec), rows, cores)


cuts = given(
    widths=st.lists(st.integers(1, 3000), min_size=2, max_size=4).map(tuple),
    rows=st.integers(1, 200_000),
    cores=st.integers(1, 65),
)


@cuts
def test_blocks_are_the_rows(widths: Any, rows: int, cores: int) -> None:
    found = made(widths, rows, cores)
    assert (found.blocks - 1) * found.block_rows < rows <= found.blocks * found.block_rows
    assert found.round_rows <= min(plan.MAX_ROWS, found.block_rows)
    assert found.block_gradients or found.block_rows == found.round_rows


@cuts
def test_slices_are_the_parameters(widths: Any, rows: int, cores: int) -> None:
    spec = NetworkSpec(widths, ("relu",) * (len(widths) - 2))
    found = made(widths, rows, cores)
    for number, layer in enumerate(table(spec)):
        pieces = sorted((s for s in found.slices if s.layer == number), key=lambda s: s.first)
        assert [s.number for s in pieces] == list(range(len(pieces)))
        assert [s.takes_bias for s in pieces] == [0] * (len(pieces) - 1) + [1]
        assert sum(s.rows for s in pieces) == layer.fan_in and pieces[0].start == layer.weight
        for s, following in zip(pieces, pieces[1:], strict=False):
            assert (s.first + s.rows, s.start + s.size) == (following.first, following.start)
        assert pieces[-1].start + pieces[-1].size == layer.bias + layer.fan_out


@cuts
def test_the_slices_of_the_cores_follow_each_other(widths: Any, rows: int, cores: int) -> None:
    found = made(widths, rows, cores)
    assert len(found.starts) == cores + 1 and found.starts == sorted(found.starts)
    assert (found.starts[0], found.starts[-1]) == (0, len(found.slices))


@pytest.mark.parametrize("cores", [1, 2, 64])
@pytest.mark.parametrize("widths", [(1, 1000, 10), (64, 32, 10), (784, 100, 10), (784, 1024, 10)])
def test_room_for_a_batch_is_bounded_by_the_parameters(widths: tuple[int, ...], cores: int) -> None:
    """However many rows there are, room for them is no more than some gradients take."""
    parameters = sum((a + 1) * b for a, b in zip(widths, widths[1:], strict=False))
    for rows in (10**3, 10**5, 10**7, 10**9):
        room = made(widths, rows, cores).capacity_rows * (sum(widths[:-1]) + sum(widths[1:]))
        most = plan.BLOCK_GRADIENTS * plan.BLOCKS_PER_CORE * cores * parameters
        assert room <= max(most, 2 * cores * plan.MAX_ROWS * (sum(widths[:-1]) + sum(widths[1:])))
