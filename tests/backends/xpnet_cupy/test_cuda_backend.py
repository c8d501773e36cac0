"""The backend where there is no GPU: what it says, what it imports, and, over the stand-in for
CuPy, what it adopts.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.cuda.cupy_on_host import cupy
from helpers.cuda.device_arrays import Array
from helpers.cuda.rig import needs_compiler
from helpers.cuda.streams import CudaError, Device
from helpers.programs import with_helpers
from xpnet_cupy import CupyBackend

from xpnet.dispatch import choose
from xpnet.errors import BackendError, DeviceMemoryError, InputError, MixedArraysError


class Foreign:
    """An array of another library on a device of a kind."""

    def __init__(self, kind: int) -> None:
        self.kind = kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        assert self.kind == 1, "an array on a device was read on the host"
        return np.ones(2)


def to_device_1(values: Any) -> Any:
    with Device(1):
        return cupy.asarray(values)


def test_without_cupy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match=r"needs CuPy.*pip install 'xpnet\[cuda13\]'"):
        CupyBackend()


def test_importing_it_imports_neither_cupy_nor_a_gpu() -> None:
    code = "import sys, xpnet, xpnet_cupy; sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=600).returncode == 0


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InputError, match="fp32, tf32, bf16; got 'fp8'"):
        CupyBackend("fp8")  # type: ignore[arg-type]


@needs_compiler
class TestMissing:
    """What is missing on a machine is said when the backend is made, with the remedy."""

    def test_a_gpu(self, cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def count() -> int:
            raise CudaError(35)

        monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", count)
        with pytest.raises(BackendError, match="NVIDIA GPU.*status 35.*nvidia-smi"):
            CupyBackend()

    def test_nvrtc(self, cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def version() -> None:
            raise RuntimeError('Failure finding "libnvrtc.so.13"')

        monkeypatch.setattr(cupy.cuda.nvrtc, "getVersion", version)
        with pytest.raises(BackendError, match=r"NVRTC.*libnvrtc\.so\.13.*cupy-cuda13x\[ctk\]"):
            CupyBackend()

    def test_cublas(self, cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("xpnet_cupy.cublaslt.find_cublaslt", lambda major: None)
        with pytest.raises(BackendError, match=r"libcublasLt\.so\.13.*cupy-cuda13x\[ctk\]"):
            CupyBackend()


@needs_compiler
class TestArrays:
    """Arrays stay where they are; what lies on the host is copied to the device."""

    def test_its_own_arrays_stay_as_they_are(self, backend: CupyBackend) -> None:
        array = cupy.zeros(3)
        assert backend.asarray(array) is array and backend.device(array) == "cuda:0"
        assert backend.asarray(array, dtype="float32").dtype == np.float32

    def test_an_array_is_converted_on_its_own_device(self, backend: CupyBackend) -> None:
        array = backend.asarray(to_device_1(np.zeros(3)), dtype="float32")
        assert array.dtype == np.float32 and backend.device(array) == "cuda:1"

    @pytest.mark.parametrize("kind", [2, 13])
    def test_arrays_on_a_device_are_adopted_without_a_copy(
        self, backend: CupyBackend, kind: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adopted: list[Any] = []
        monkeypatch.setattr(cupy, "from_dlpack", adopted.append)
        foreign = Foreign(kind)
        backend.asarray(foreign)
        assert adopted == [foreign]

    def test_arrays_on_the_host_are_copied_to_the_device(self, backend: CupyBackend) -> None:
        for data in (Foreign(1), [1.0, 1.0]):
            array = backend.asarray(data)
            assert isinstance(array, Array) and array.tolist() == [1, 1]

    def test_columns_and_frames_of_cudf(
        self, backend: CupyBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        frame = SimpleNamespace(to_cupy=lambda: cupy.ones(3))
        assert backend.asarray(frame).tolist() == [1, 1, 1]
        adopted: list[Any] = []
        monkeypatch.setattr(cupy, "asarray", adopted.append)
        column = SimpleNamespace(__cuda_array_interface__={})
        backend.asarray(column)
        assert adopted == [column]

    def test_out_of_memory_names_the_size_and_a_remedy(self, backend: CupyBackend) -> None:
        message = "1.0 MiB must fit.*allocating 1,048,576 bytes.*delete arrays"
        with cupy.pool.limited(0), pytest.raises(DeviceMemoryError, match=message):
            backend.asarray(np.ones(1 << 17))

    def test_it_describes_driver_toolkit_card_and_memory(
        self, backend: CupyBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("xpnet_cupy.checked.PATH", tmp_path / "none.json")
        assert backend.describe() == {
            "cupy": "14.2.0",
            "driver": "13.1",
            "toolkit": "13.0",
            "card": "a host, cuda:0 of 2",
            "free memory": "1.0 of 2.0 GiB",
            "cuBLASLt": "13.2.1",
            "checks": "none made with this card, driver and CuPy",
        }

    def test_the_device_of_the_arrays_is_used(self, cuda: Any) -> None:
        here, there = cupy.ones(2), to_device_1(np.ones(2))
        for array in (here, there):
            chosen = choose(array)
            assert chosen.backend.name == "cupy" and chosen.backend._device == array.number
            assert chosen.backend is choose(array).backend
        with pytest.raises(MixedArraysError, match="one device"):
            choose(here, there)


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
    get_backend("cupy")
except BackendError:
    print("no CuPy without the stand-in")
"""
    environment = with_helpers(os.environ, *filter(None, sys.path))
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert (ended.returncode, ended.stdout) == (0, "no CuPy without the stand-in\n"), ended.stderr


@pytest.mark.repository
@pytest.mark.parametrize("extra", ["cuda12", "cuda13"])
def test_extras_bring_nvrtc_and_cublas(extra: str) -> None:
    """CuPy asks for NVIDIA's libraries by its own extra ``ctk``, which CuPy 13 does not have."""
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"cupy-{extra}x[ctk]>=14" in project["optional-dependencies"][extra]
