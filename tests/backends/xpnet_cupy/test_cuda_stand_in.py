"""The stand-in for CuPy refuses what CuPy and CUDA refuse, and works as late as they may."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.cuda import cupy_on_host
from helpers.cuda.cupy_on_host import cupy
from helpers.cuda.device_arrays import Array, OutOfMemoryError
from helpers.cuda.rig import needs_compiler
from helpers.cuda.steps import with_reference
from helpers.cuda.streams import CudaError, Device, Event, Stream
from xpnet_cupy import CupyBackend
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec

pytestmark = [needs_compiler, pytest.mark.usefixtures("cuda")]


HOST = np.arange(6.0)

READS: dict[str, Callable[[Any], Any]] = {
    "asarray": np.asarray,
    "list": lambda array: np.array([array, array]),
    "operator": lambda array: HOST + array,
    "swapped": lambda array: array * HOST,
    "function": lambda array: np.where(array > 0, array, HOST),
    "backend": NumpyBackend().asarray,
}


@pytest.mark.parametrize("read", READS)
def test_numpy_reads_no_array_of_the_device(read: str) -> None:
    array = cupy.asarray(HOST)
    assert not isinstance(array, np.ndarray)
    with pytest.raises(TypeError, match="Implicit conversion|Unsupported type"):
        READS[read](array)


def test_functions_of_numpy_that_cupy_has_stay_on_the_device() -> None:
    array = cupy.asarray(HOST)
    outputs = np.sum(array), np.exp(array), np.float64(2) * array, array[1], array[::2].max()
    assert all(isinstance(output, Array) for output in outputs)
    assert [float(np.sum(output)) for output in outputs[2:]] == [30, 1, 4]
    with pytest.raises(ValueError, match="cannot be used for fill"):
        array[:] = HOST
    with pytest.raises(AttributeError, match="geomspace"):
        cupy.geomspace(1, 2)


def test_a_part_is_a_view_and_a_result_is_not() -> None:
    array = cupy.asarray(HOST)
    array.reshape(2, 3)[1, 2] = 7
    (array + 0)[:] = 9
    assert array.tolist() == [0, 1, 2, 3, 4, 7]


def test_freed_memory_is_the_next_arrays_of_its_stream() -> None:
    array = cupy.zeros(8)
    address = array.data.ptr
    del array
    with Stream(non_blocking=True):
        assert cupy.empty(8).data.ptr != address
    with Device(1):
        assert cupy.empty(8).data.ptr != address
    following = cupy.empty(8)
    assert following.data.ptr == address and np.isnan(following.get()).all()


def test_a_limit_is_of_all_that_the_pool_holds() -> None:
    """At the limit the pool gives free memory back, and what a garbage collection frees."""
    with cupy.pool.limited(4096):
        kept, freed = cupy.empty(256), cupy.empty(256)
        with pytest.raises(OutOfMemoryError, match=r"allocating 2,048 bytes .* limit set to"):
            cupy.empty(256)
        del freed
        following = cupy.empty(256)  # takes the memory that is free
        del kept
        cycle = [following]
        cycle.append(cycle)  # type: ignore[arg-type]
        del following, cycle
        assert cupy.empty(512).nbytes == 4096


def test_free_memory_is_given_back_on_the_current_device_alone() -> None:
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    with Device(1):
        pool.free_all_blocks()
        array = cupy.empty(256)
        del array
        held = pool.total_bytes()
    pool.free_all_blocks()
    with Device(1):
        assert pool.total_bytes() == held
        pool.free_all_blocks()
        assert pool.total_bytes() == held - 2048


def _module() -> Any:
    return cupy_on_host.RawModule.__new__(cupy_on_host.RawModule)


IN_A_CAPTURE: dict[str, Callable[[Any, Event], Any]] = {
    "an operation": lambda array, _: array + 1,
    "a copy to the host": lambda array, _: array.get(),
    "a copy from the host": lambda array, _: cupy.asarray(HOST),
    "a wait for the stream": lambda array, _: cupy_on_host.current().synchronize(),
    "a wait for an event": lambda array, event: event.synchronize(),
    "a wait for another stream": lambda array, event: Stream().wait_event(event),
    "a kernel that is loaded": lambda array, _: _module().get_function("finish"),
    "a capture": lambda array, _: cupy_on_host.current().begin_capture(),
}


@pytest.mark.parametrize("what", IN_A_CAPTURE)
def test_a_capture_refuses(what: str) -> None:
    array, stream = cupy.asarray(HOST), Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(AssertionError, match="captur"):
            IN_A_CAPTURE[what](array, stream.record())
        stream.end_capture()


def test_a_wait_for_the_device_fails_and_invalidates_its_captures() -> None:
    stream = Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with Device(1):
            Device().synchronize()  # another device
        with pytest.raises(CudaError, match="not permitted when stream is capturing"):
            Device().synchronize()
        with pytest.raises(CudaError, match="previous error during capture"):
            stream.end_capture()
    Device().synchronize()


WAITS: dict[str, Callable[[Stream], bool]] = {
    "nobody": lambda stream: True,
    "the lane": lambda stream: not stream.non_blocking,
    "the caller": lambda stream: stream.non_blocking,
}
"""Who forgets to wait, and which streams then wait for others."""


@pytest.mark.parametrize("forgets", WAITS)
def test_a_prediction_has_other_numbers_where_a_stream_does_not_wait(
    forgets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows come on the caller's stream, on which its outputs are read."""
    spec, wait_event = NetworkSpec((6, 5, 4), ("relu",)), Stream.wait_event
    backend = CupyBackend()
    step, reference = with_reference(backend.compile_step(spec))
    Device().synchronize()
    monkeypatch.setattr(
        Stream,
        "wait_event",
        lambda stream, event: wait_event(stream, event) if WAITS[forgets](stream) else None,
    )
    outputs = step.forward(backend.asarray(HOST.reshape(1, 6)))
    if forgets == "the lane":  # which may be faster than the caller's stream
        step.launcher.lane.stream.synchronize()
    same = np.allclose(outputs.get(), reference.forward(HOST.reshape(1, 6)), rtol=1e-12)
    assert same == (forgets == "nobody")


def test_a_state_has_the_update_that_another_stream_asked_for() -> None:
    """A model may be saved on another stream than the one on which it was trained."""
    spec, backend = NetworkSpec((6, 5, 4), ("relu",)), CupyBackend()
    step, reference = with_reference(backend.compile_step(spec))
    other: Any = backend.compile_step(spec)
    X, Y = HOST.reshape(1, 6), np.array([2])
    with Stream(non_blocking=True):
        step.gradient(backend.asarray(X), backend.asarray(Y))
        step.update(learning_rate=0.1)
    state = step.state()
    reference.gradient(X, Y)
    reference.update(learning_rate=0.1)
    assert state.t == 1
    with Stream(non_blocking=True):
        other.load_state(state)
    for name, wanted in reference.params.items():
        np.testing.assert_allclose(state.params[name], wanted, rtol=1e-12)
        np.testing.assert_array_equal(other.state().params[name], state.params[name])
