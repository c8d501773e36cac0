"""The kernels through NVIDIA's compilers, which need no GPU: nvcc, and NVRTC, which is what CuPy
compiles with.
"""

import ctypes
import glob
import importlib.util
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from xpnet_cupy.cuda import SOURCE


def nvcc(arch: str, real: str, folder: Path) -> str:
    """What nvcc says of registers and spills."""
    options = [
        "-cubin",
        f"-arch={arch}",
        f"-DREAL={real}",
        "-std=c++17",
        "-Xptxas",
        "-v",
        "-Werror",
        "all-warnings",
    ]
    source = folder / "kernels.cu"
    source.write_text(SOURCE)
    command = ["nvcc", *options, str(source), "-o", str(folder / "kernels.cubin")]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=500).stderr


def has_nvcc() -> bool:
    return shutil.which("nvcc") is not None


def find_nvrtc() -> str | None:
    """The file of NVRTC's library: where cuda-pathfinder finds it, or in a package on Python's
    path.
    """
    if (
        importlib.util.find_spec("cuda") is not None
        and importlib.util.find_spec("cuda.pathfinder") is not None
    ):
        from cuda.pathfinder import load_nvidia_dynamic_lib

        try:
            return load_nvidia_dynamic_lib("nvrtc").abs_path
        except RuntimeError:  # not in the places it looks at
            pass
    found = [
        f
        for folder in sys.path
        for f in sorted(glob.glob(f"{folder}/nvidia/*/lib/libnvrtc.so.1[23]"))
    ]
    return found[-1] if found else None


CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
"""What CuPy adds to the options of every kernel: among them, that denormals are 0."""


def nvrtc(arch: str, real: str, path: str, *options: str) -> str:
    """What NVRTC says of registers and spills. options : beside those that the backend gives"""
    return _compiled(arch, [f"-DREAL={real}", *options], path)[0]


@cache
def ptx(real: str, path: str) -> dict[str, str]:
    """Each kernel as NVRTC's PTX."""
    _, *kernels = _compiled("compute_90", [f"-DREAL={real}"], path)[1].split(".entry ")
    return {kernel.partition("(")[0]: kernel for kernel in kernels}


def _compiled(arch: str, defined: list[str], path: str) -> list[str]:
    """NVRTC's log, and its PTX."""
    library, program = ctypes.CDLL(path), ctypes.c_void_p()
    assert (
        library.nvrtcCreateProgram(
            ctypes.byref(program), SOURCE.encode(), b"kernels.cu", 0, None, None
        )
        == 0
    )
    options = [f"-arch={arch}", *defined, "--std=c++17", "--ptxas-options=-v"]
    given: Any = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status, texts = library.nvrtcCompileProgram(program, len(options), given), []
    for kind in ("ProgramLog", "PTX"):
        size = ctypes.c_size_t()
        getattr(library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(max(size.value, 1))
        getattr(library, f"nvrtcGet{kind}")(program, text)
        texts.append(text.value.decode())
    assert status == 0, texts[0]
    return texts
