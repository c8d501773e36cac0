"""The user's side on a GPU: arrays in and out, devices, files, models and the command line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet

CONTEXT = """
import ctypes, xpnet
xpnet.get_backend("cupy")
driver, flags, active = ctypes.CDLL("libcuda.so.1"), ctypes.c_uint(), ctypes.c_int()
driver.cuInit(0)
assert driver.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(active)) == 0
assert not active.value, "a context was made"
"""


# A child of a rehearsal has the stand-in for CuPy that its parent has.
STAND_IN = (
    "from helpers.cuda import cupy_on_host; cupy_on_host.pytest_configure(); "
    if "helpers.cuda.cupy_on_host" in sys.modules
    else ""
)


def test_importing_and_asking_for_the_backend_touches_no_device() -> None:
    assert subprocess.run([sys.executable, "-c", CONTEXT], check=False, timeout=600).returncode == 0


def test_torch_tensors_are_taken_without_a_copy(backend: Any) -> None:
    torch = card_of_torch()
    tensor = torch.arange(6.0, device="cuda").reshape(2, 3)
    assert backend.asarray(tensor).data.ptr == tensor.data_ptr()


def test_jax_arrays_are_taken_without_a_copy(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    jax = card_of_jax(monkeypatch)
    array = jax.numpy.arange(6.0)
    assert backend.asarray(array).data.ptr == array.unsafe_buffer_pointer()


def card_of_torch() -> Any:
    """PyTorch, where it has a card; the test is skipped elsewhere."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    return torch


def card_of_jax(monkeypatch: pytest.MonkeyPatch) -> Any:
    """JAX, where it has a card; the test is skipped elsewhere."""
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or it takes most of the card
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    if jax.default_backend() != "gpu":
        pytest.skip("this JAX has no CUDA")
    return jax


def assert_trains_as_on_the_host(asarray: Callable[[Any], Any], compiled: str) -> None:
    """Losses and predictions of a network on arrays of another library, of float32.

    asarray : makes an array on the card of one on the host; compiled : is said of the step
    """
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((200, 8)).astype("float32"), rng.integers(0, 3, 200)
    losses, outputs = [], []
    for convert in (asarray, np.asarray):
        model = xpnet.FeedforwardNeuralNet(8, 16, 3, rng=np.random.default_rng(1), dtype="float32")
        arrays = convert(X), convert(Y)
        losses.append(model.fit(*arrays, epochs=4, batch_size=50, rng=1).loss)
        outputs.append(model.predict(arrays[0]))
        if convert is asarray:
            assert compiled in model.why_ and model.device_ != "cpu"
    host = outputs[0].cpu() if hasattr(outputs[0], "cpu") else outputs[0]
    np.testing.assert_allclose(*losses, rtol=1e-4)  # a few hundred roundings of float32
    np.testing.assert_allclose(np.asarray(host), outputs[1], rtol=1e-3, atol=1e-5)


def test_torch_tensors_train_on_the_card() -> None:
    torch = card_of_torch()
    assert_trains_as_on_the_host(lambda array: torch.asarray(array, device="cuda"), "compile")


def test_jax_arrays_train_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_trains_as_on_the_host(card_of_jax(monkeypatch).numpy.asarray, "jitted")


def test_arrays_stay_cupys_through_layers_functions_and_models(
    cupy: Any, rng: Any, dtype: str
) -> None:
    X, Y = (
        cupy.asarray(rng.standard_normal((50, 8)).astype(dtype)),
        cupy.asarray(rng.integers(0, 3, 50)),
    )
    model = xpnet.FeedforwardNeuralNet(8, 16, 3, rng=np.random.default_rng(0))
    model.fit(X, Y, epochs=3, batch_size=16)
    outputs = [
        model.predict(X),
        xpnet.relu(X),
        xpnet.softmax(X),
        xpnet.softmax_cross_entropy(X[:, :3], Y)[1],
    ]
    layer = xpnet.Affine()
    outputs.append(layer.forward(X, cupy.ones((8, 3), dtype), cupy.ones(3, dtype)))
    assert all(isinstance(out, cupy.ndarray) and out.dtype == dtype for out in outputs)
    assert (
        model.backend_ == "cupy"
        and model.device_ == "cuda:0"
        and "compiled CuPy step" in model.why_
    )


def test_a_model_moves_to_the_host_and_its_file_opens_there(
    cupy: Any, rng: Any, tmp_path: Path
) -> None:
    X, Y = rng.standard_normal((50, 8)), rng.integers(0, 3, 50)
    model = xpnet.FeedforwardNeuralNet(8, 16, 3, rng=np.random.default_rng(0), backend="cupy")
    model.fit(X, Y, epochs=3)
    wanted = cupy.asnumpy(model.predict(X))
    model.save(tmp_path / "model.safetensors")
    for other in (xpnet.load(tmp_path / "model.safetensors", backend="numpy"), model.to("numpy")):
        np.testing.assert_allclose(other.predict(X), wanted, rtol=1e-10)


def test_the_same_training_on_the_host(cupy: Any, rng: Any) -> None:
    X, Y = rng.standard_normal((500, 20)), rng.integers(0, 5, 500)
    losses = []
    for backend in ("cupy", "numpy"):
        model = xpnet.FeedforwardNeuralNet(
            20, [32, 16], 5, backend=backend, optimizer="adam", rng=np.random.default_rng(0)
        )
        history = model.fit(X, Y, epochs=5, batch_size=64, rng=np.random.default_rng(1))
        losses.append(history.loss)
    np.testing.assert_allclose(*losses, rtol=1e-9)


def test_the_arrays_device_is_used_and_kept(cupy: Any, rng: Any) -> None:
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU")
    with cupy.cuda.Device(1):
        X, Y = cupy.asarray(rng.random((50, 8))), cupy.arange(50) % 3
    model = xpnet.FeedforwardNeuralNet(8, 16, 3)
    model.fit(X, Y, epochs=2)
    assert (
        model.device_ == "cuda:1"
        and model.predict(X).device.id == 1
        and xpnet.relu(X).device.id == 1
    )


def skip_without_command_line() -> None:
    for package in ("click", "rich", "sklearn"):
        pytest.importorskip(
            package, reason=f"the command line needs {package}, which is not installed"
        )


def command_line(*arguments: str) -> str:
    skip_without_command_line()
    code = f"{STAND_IN}from xpnet.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    ).stdout


def test_the_notebooks_tables() -> None:
    skip_without_command_line()
    from xpnet.cli.commands.reproduce import run_notebook

    lines: list[str] = []
    assert run_notebook("cupy", lines.append), "\n".join(lines)
    assert "compiled CuPy step" in xpnet.FeedforwardNeuralNet(64, 32, 10, backend="cupy").why_


def test_doctor_names_the_card(backend: Any) -> None:
    text = command_line("doctor")
    assert all(
        fact in text
        for fact in (backend.describe()["card"].partition(",")[0], "driver", "toolkit", "cuBLASLt")
    )


def test_reproduce_and_train_from_the_command_line() -> None:
    assert "All 24 numbers are the notebook's." in command_line("reproduce", "--backend", "cupy")
    assert "cupy" in command_line("train", "iris", "--backend", "cupy", "--epochs", "3")
