"""The backend where there is no GPU: what it says, what it imports, and, over a stand-in for CuPy,
what it adopts.
"""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers.programs import with_helpers
from xpnet_cupy import CupyBackend, backend, cublaslt

import xpnet
from xpnet.dispatch import choose
from xpnet.errors import BackendError, DeviceMemoryError, InputError, MixedArraysError


class CudaError(RuntimeError):
    """CuPy's CUDARuntimeError."""


class OutOfMemory(MemoryError):
    """CuPy's OutOfMemoryError."""


class Device:
    """CuPy's Device: the one that is current holds what is made."""

    current: ClassVar[list[int]] = [0]

    def __init__(self, number: int | None = None) -> None:
        self.id = self.current[-1] if number is None else number

    def __enter__(self) -> Any:
        self.current.append(self.id)
        return self

    def __exit__(self, *exception: object) -> None:
        self.current.pop()


class DeviceArray:
    """An array that says it is CuPy's and lives on a device."""

    def __init__(self, values: Any, device: int = 0) -> None:
        self.values, self.device = np.asarray(values), Device(device)
        self.dtype = self.values.dtype

    def astype(self, dtype: str, copy: bool = True) -> "DeviceArray":
        return DeviceArray(self.values.astype(dtype), Device.current[-1])

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return np


DeviceArray.__module__ = "cupy"


class Foreign:
    """An array of another library on a device of a kind."""

    def __init__(self, kind: int) -> None:
        self.kind = kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        assert self.kind == 1, "an array on a device was read on the host"
        return np.ones(2)


def stand_in(*, devices: int) -> Any:
    """As much of CuPy as the backend touches, with so many devices."""
    cupy: Any = ModuleType("cupy")
    cupy.__version__ = "14.2.0"
    cupy.ndarray = DeviceArray
    cupy.adopted = []

    def count() -> int:
        if not devices:
            raise CudaError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
        return devices

    def on_device(data: Any) -> Any:
        if getattr(data, "nbytes", 0) > 1000:
            raise OutOfMemory("Out of memory allocating 8,000 bytes")
        cupy.adopted.append(data)
        return DeviceArray(np.zeros(2))

    properties = {"name": b"NVIDIA H100"}
    runtime = SimpleNamespace(
        CUDARuntimeError=CudaError,
        getDeviceCount=count,
        getDeviceProperties=lambda device: properties,
        memGetInfo=lambda: (60 << 30, 80 << 30),
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13020,
    )
    memory = SimpleNamespace(OutOfMemoryError=OutOfMemory)
    available = bool(devices)
    cupy.cuda = SimpleNamespace(
        is_available=lambda: available,
        runtime=runtime,
        memory=memory,
        Device=Device,
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 2)),
    )
    cupy.from_dlpack = cupy.asarray = on_device
    cupy.asnumpy = np.asarray
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=lambda: None)
    return cupy


@pytest.fixture
def use_cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a stand-in where CuPy is imported from; None for no CuPy at all."""

    def use(cupy: Any) -> Any:
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setitem(sys.modules, "array_api_compat.cupy", cupy)
        monkeypatch.setattr("array_api_compat.cupy", cupy, raising=False)
        monkeypatch.setattr(import_module("xpnet.dispatch.choose"), "_loaded", {})
        return cupy

    return use


def test_without_cupy_it_says_what_to_install(use_cupy: Any) -> None:
    use_cupy(None)
    with pytest.raises(BackendError, match=r"needs CuPy.*pip install 'xpnet\[cuda13\]'"):
        backend()


def test_without_a_gpu_it_says_what_cuda_says(use_cupy: Any) -> None:
    use_cupy(stand_in(devices=0))
    with pytest.raises(BackendError, match="NVIDIA GPU.*cudaErrorInsufficientDriver.*nvidia-smi"):
        xpnet.get_backend("cupy")


def test_importing_it_imports_neither_cupy_nor_a_gpu() -> None:
    code = "import sys, xpnet, xpnet_cupy; sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=600).returncode == 0


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InputError, match="fp32, tf32, bf16; got 'fp8'"):
        CupyBackend("fp8")  # type: ignore[arg-type]


def test_without_nvrtc_it_says_what_to_install(
    use_cupy: Any, found_cublaslt: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cupy = use_cupy(stand_in(devices=1))

    def missing() -> None:
        raise RuntimeError('Failure finding "libnvrtc.so.13"')

    monkeypatch.setattr(cupy.cuda.nvrtc, "getVersion", missing)
    with pytest.raises(BackendError, match=r"NVRTC.*libnvrtc\.so\.13.*cupy-cuda13x\[ctk\]"):
        xpnet.get_backend("cupy")


def test_without_cublas_it_says_what_to_install(
    use_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cupy(stand_in(devices=1))
    monkeypatch.setattr("xpnet_cupy.cublaslt.find_cublaslt", lambda major: None)
    with pytest.raises(BackendError, match=r"libcublasLt\.so\.13.*cupy-cuda13x\[ctk\]"):
        xpnet.get_backend("cupy")


@pytest.fixture
def found_cublaslt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cuBLASLt that is there."""
    library = SimpleNamespace(cublasLtGetVersion=lambda: 130201)
    monkeypatch.setattr("xpnet_cupy.cublaslt.find_cublaslt", lambda major: library)


@pytest.fixture
def made(use_cupy: Any, found_cublaslt: None) -> Any:
    """The stand-in for CuPy, and the backend over it."""
    cupy = use_cupy(stand_in(devices=2))
    return cupy, CupyBackend()


def test_its_own_arrays_stay_as_they_are(made: Any) -> None:
    array = DeviceArray(np.zeros(3))
    assert made[1].asarray(array) is array and made[1].device(array) == "cuda:0"
    assert made[1].asarray(array, dtype="float32").dtype == np.float32


def test_an_array_is_converted_on_its_own_device(made: Any) -> None:
    array = made[1].asarray(DeviceArray(np.zeros(3), device=1), dtype="float32")
    assert array.dtype == np.float32 and made[1].device(array) == "cuda:1"


@pytest.mark.parametrize("kind", [2, 13])
def test_arrays_on_a_device_are_adopted_without_a_copy(made: Any, kind: int) -> None:
    foreign = Foreign(kind)
    made[1].asarray(foreign)
    assert made[0].adopted == [foreign]


def test_arrays_on_the_host_are_copied_to_the_device(made: Any) -> None:
    made[1].asarray(Foreign(1))
    made[1].asarray([1.0, 1.0])
    assert (
        all(isinstance(data, np.ndarray) for data in made[0].adopted) and len(made[0].adopted) == 2
    )


def test_columns_and_frames_of_cudf(made: Any) -> None:
    column = SimpleNamespace(__cuda_array_interface__={})
    frame = SimpleNamespace(to_cupy=lambda: DeviceArray(np.ones(3)))
    made[1].asarray(column)
    assert made[0].adopted == [column] and made[1].asarray(frame).values.sum() == 3


def test_out_of_memory_names_the_size_and_a_remedy(made: Any) -> None:
    with pytest.raises(
        DeviceMemoryError, match="0.0 MiB must fit.*allocating 8,000 bytes.*free_all_blocks"
    ):
        made[1].asarray(np.ones(1000))


def test_it_describes_driver_toolkit_card_and_memory(made: Any) -> None:
    assert made[1].describe() == {
        "cupy": "14.2.0",
        "driver": "13.0",
        "toolkit": "13.2",
        "card": "NVIDIA H100, cuda:0 of 2",
        "free memory": "60.0 of 80.0 GiB",
        "cuBLASLt": "13.2.1",
    }


def test_the_device_of_the_arrays_is_used(made: Any) -> None:
    here, there = DeviceArray(np.ones(2)), DeviceArray(np.ones(2), device=1)
    for array in (here, there):
        chosen = choose(array)
        assert chosen.backend.name == "cupy" and chosen.backend._device == array.device.id
        assert chosen.backend is choose(array).backend
    with pytest.raises(MixedArraysError, match="one device"):
        choose(here, there)


def test_cublaslt_of_cupys_own_major_version_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """cuda-pathfinder gives the newest, whatever CuPy was built for."""

    class Library:
        def __init__(self, path: str) -> None:
            if not Path(path).exists():
                raise OSError(path)
            self.path, self.cublasLtGetVersion = (
                path,
                type("Version", (), {"__call__": lambda _: self.version()})(),
            )

        def version(self) -> int:
            return 10000 * int(self.path.rpartition(".")[2])

    for major in (12, 13):
        (tmp_path / f"libcublasLt.so.{major}").touch()
    found = SimpleNamespace(abs_path=str(tmp_path / "libcublasLt.so.13"))
    pathfinder = SimpleNamespace(load_nvidia_dynamic_lib=lambda name: found)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(pathfinder=pathfinder))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", pathfinder)
    monkeypatch.setattr("ctypes.CDLL", Library)
    cublaslt.find_cublaslt.cache_clear()
    assert [cublaslt.find_cublaslt(major).path[-2:] for major in (12, 13)] == ["12", "13"]
    assert cublaslt.find_cublaslt(11) is None
    cublaslt.find_cublaslt.cache_clear()


def test_the_stand_in_and_a_cupy_that_is_installed_do_not_meet() -> None:
    """The one that is installed is put away while the stand-in is there, and put back after it."""
    code = """
import sys
from types import ModuleType
real = sys.modules["cupy"] = ModuleType("cupy")
from helpers.cuda import cupy_on_host
from xpnet import BackendError, get_backend
from xpnet_cupy import CupyBackend
with cupy_on_host.installed():
    assert CupyBackend()._cupy is sys.modules["cupy"] is cupy_on_host.cupy
    assert get_backend("cupy")._cupy is cupy_on_host.cupy
assert sys.modules["cupy"] is real
try:
    raise AssertionError(get_backend("cupy"))
except BackendError:
    pass
"""
    environment = with_helpers(os.environ, *filter(None, sys.path))
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=600)


@pytest.mark.parametrize("extra", ["cuda12", "cuda13"])
def test_extras_bring_nvrtc_and_cublas(extra: str) -> None:
    """CuPy asks for NVIDIA's libraries by its own extra ``ctk``, which CuPy 13 does not have."""
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"cupy-{extra}x[ctk]>=14" in project["optional-dependencies"][extra]
