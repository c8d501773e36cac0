"""The kernels' source compiles for every card without spills, and its tests notice when it is
wrong.
"""

import re
import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.cuda.checks import (
    assert_close,
    assert_row_losses,
    assert_takes_any_address,
    backward_bias,
    draw,
    run,
    shifted,
)
from helpers.cuda.compilers import CUPY_OPTIONS, find_nvrtc, has_nvcc, nvcc, nvrtc, ptx
from helpers.cuda.host import HostLauncher, launching
from helpers.cuda.rig import HostKernels, host_kernels, needs_compiler
from helpers.cuda.steps import (
    RULES,
    assert_agrees,
    assert_infers_in_blocks,
    assert_parts_agree,
    assert_same_gradient,
    assert_weighted_epochs_agree,
    network,
)
from xpnet_cupy.cuda import SOURCE
from xpnet_cupy.launcher import KERNELS
from xpnet_cupy.launches import FACTORS
from xpnet_cupy.operations import table

from xpnet.backend import BatchPart
from xpnet.errors import InputError
from xpnet.ops.updates import NADAM_DECAY

NVRTC = find_nvrtc()


def assert_no_spills(log: str) -> None:
    spills = re.findall(
        r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log
    )
    assert len(spills) >= len(KERNELS), log
    assert {numbers for numbers in spills} == {("0", "0", "0")}, log


OF_EACH_CHANGE = [("sm_75", "float"), ("sm_100", "double")]
"""Builds for the oldest architecture that CUDA 13 knows, and for a new one."""

BUILDS = [
    pytest.param(*build, marks=[] if build in OF_EACH_CHANGE else pytest.mark.exhaustive)
    for build in product(["sm_75", "sm_80", "sm_90", "sm_100", "sm_120"], ["float", "double"])
]


@pytest.mark.parametrize(("arch", "real"), BUILDS)
@pytest.mark.nvrtc
def test_every_kernel_compiles_without_spills(arch: str, real: str, tmp_path: Path) -> None:
    if has_nvcc():
        assert_no_spills(nvcc(arch, real, tmp_path))
    elif NVRTC:
        assert_no_spills(nvrtc(arch, real, NVRTC))
    else:
        pytest.skip("neither nvcc nor NVRTC (pip install nvidia-cuda-nvrtc) is installed")


@pytest.mark.skipif(NVRTC is None, reason="NVRTC (pip install nvidia-cuda-nvrtc) is not installed")
@pytest.mark.nvrtc
@pytest.mark.parametrize("options", [(), CUPY_OPTIONS], ids=["as it is", "with CuPy's options"])
def test_the_compiler_that_cupy_uses_takes_the_source(options: tuple[str, ...]) -> None:
    assert_no_spills(nvrtc("sm_80", "float", NVRTC or "", *options))


def accesses(
    real: str, kernel: str, kind: str = r"[.\w]+", space: str = r"\.global(?:\.nc)?"
) -> str:
    """A kernel's loads and stores of a kind, in the order of its PTX: ``ld ld st ``."""
    if NVRTC is None:
        pytest.skip("NVRTC (pip install nvidia-cuda-nvrtc) is not installed")
    found = re.findall(rf"\b(ld|st){space}\.{kind}\b", ptx(real, NVRTC)[kernel])
    return "".join(f"{access} " for access in found)


SIXTEEN_BYTES = {"float": r"v4\.\w32", "double": r"v2\.\w64"}


@pytest.mark.parametrize("real", SIXTEEN_BYTES)
@pytest.mark.nvrtc
def test_adam_loads_all_it_needs_before_it_stores(real: str) -> None:
    """In one turn: parameter, gradient and moments are under way together, 16 bytes each."""
    assert accesses(real, "adam", SIXTEEN_BYTES[real]).startswith(4 * "ld " + 3 * "st ")


@pytest.mark.parametrize("real", SIXTEEN_BYTES)
@pytest.mark.parametrize("kernel", ["bias_relu", "bias_tanh"])
@pytest.mark.nvrtc
def test_rows_are_taken_sixteen_bytes_at_a_time(kernel: str, real: str) -> None:
    assert "ld st " in accesses(real, kernel, SIXTEEN_BYTES[real])


@pytest.mark.parametrize("real", SIXTEEN_BYTES)
@pytest.mark.nvrtc
def test_rows_are_gathered_sixteen_bytes_at_a_time(real: str) -> None:
    """Where they lie is read from memory, so that NVRTC does not say of their loads that they are
    global.
    """
    assert accesses(real, "next_batch", SIXTEEN_BYTES[real], r"(?:\.global)?").startswith("ld st ")


@pytest.mark.parametrize("real", SIXTEEN_BYTES)
@pytest.mark.parametrize(
    "kernel", ["softmax_warp", "cross_entropy_indices_warp", "cross_entropy_indices_block"]
)
@pytest.mark.nvrtc
def test_a_row_is_loaded_before_any_of_it_is_stored(kernel: str, real: str) -> None:
    """As much of it as its threads keep in registers."""
    kept = 16 if real == "float" and kernel.endswith("block") else 8
    assert kept * "ld " + kept * "st " in accesses(real, kernel)


def signatures(text: str) -> dict[str, list[str]]:
    """The parameters of every kernel as a source declares them, macros written out by the
    preprocessor.
    """
    command = ["g++", "-E", "-P", "-x", "c++", "-"]
    done = subprocess.run(
        command, input=text, check=True, capture_output=True, text=True, timeout=600
    )
    found = re.findall(
        r"__global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(([^)]*)\) \{", done.stdout
    )
    return {
        name: [" ".join(one.split()) for one in parameters.split(",")] for name, parameters in found
    }


@needs_compiler
def test_the_table_of_kernels_is_what_the_preprocessor_reads() -> None:
    declared = signatures(SOURCE)
    assert set(declared) == set(KERNELS) and len(KERNELS) > 50
    for name, parameters in declared.items():
        for text, parameter in zip(parameters, KERNELS[name], strict=True):
            assert set(parameter.kind.split()) <= set(re.findall(r"\w+", text)), (name, text)
            assert parameter.is_array == ("*" in text), (name, text)
            restricted = "__restrict__" in text and "const" not in text
            assert parameter.overlaps_none == restricted, (name, text)
    missing = {name: [one.may_be_missing for one in KERNELS[name]] for name in ("bias_elu", "clip")}
    assert missing == {"bias_elu": [False, True, False, False, False], "clip": [False] * 3}


@needs_compiler
class TestArguments:
    """What reaches a kernel is checked in one place."""

    def test_a_view_is_refused(self, launcher: HostLauncher, dtype: str) -> None:
        x = np.zeros((4, 6), dtype)
        with pytest.raises(
            InputError, match=r"softmax_warp .* C-contiguous arrays of .* got .* of strides"
        ):
            launcher.prepare("softmax_warp", (1,), (32, 1), x.T, x, 6, 4)

    def test_another_dtype_is_refused(self, launcher: HostLauncher, dtype: str) -> None:
        x = np.zeros((4, 6), dtype)
        with pytest.raises(InputError, match="got float16"):
            launcher.prepare("softmax_warp", (1,), (32, 1), x.astype(np.float16), x, 4, 6)

    def test_a_missing_argument_is_refused(self, launcher: HostLauncher, dtype: str) -> None:
        with pytest.raises(ValueError, match="shorter"):
            launcher.prepare("softmax_warp", (1,), (32, 1), np.zeros((4, 6), dtype))

    def test_a_written_array_at_the_place_of_another_is_refused(
        self, launcher: HostLauncher, dtype: str
    ) -> None:
        x = np.zeros((4, 6), dtype)
        with pytest.raises(
            AssertionError, match="softmax_warp writes to memory where another of its arrays lies"
        ):
            launcher.prepare("softmax_warp", (1,), (32, 1), x, x, 4, 6)
        sizes = 4, 6, 4
        sums = np.zeros((1, 6), dtype)
        # works item by item, so it may
        launcher.prepare("relu_backward_bias", (1,), (32, 8), x, x, x, sums, *sizes)


def first(text: str, old: str, new: str, count: int = 1) -> str:
    """The text with the ``count``-th occurrence replaced."""
    parts = text.split(old)
    assert len(parts) > count, f"{old!r} is not in the source"
    return old.join(parts[:count]) + new + old.join(parts[count:])


MUTATIONS: dict[str, tuple[Any, ...]] = {
    "the first shuffle round is missing": ("int distance = 16", "int distance = 8"),
    "every second shuffle round is missing": ("distance /= 2", "distance /= 4"),
    "the second half of a warp is not in the mask": ("0xffffffffu", "0xffffu"),
    "packs are taken where they do not lie whole": (
        "% (PACK * sizeof(T)) == 0",
        "% sizeof(T) == 0",
    ),
    "all labels are the first": ("label = labels[source]", "label = labels[0]"),
    "all columns have the first bias": ("bias[col]", "bias[0]"),
    "all row losses go to the first": ("row_loss[row] +=", "row_loss[0] +="),
    "all weights are the first": ("weight[source]", "weight[0]"),
    "gather ignores the cursor": (
        "clock[NEXT_CURSOR], rows, members), scale",
        "0, rows, members), scale",
    ),
    "labels ignore the order": (
        "return order ? (long long)order[",
        "return order ? (long long)0 * order[",
    ),
    "labels ignore the cursor": (
        "rows_at(data, clock[CURSOR], rows, members);  ",
        "rows_at(data, 0, rows, members);  ",
    ),
    "the cursor stands still": ("clock[CURSOR] + rows;\n  }\n}", "clock[CURSOR];\n  }\n}"),
    "the next cursor is taken for this batch's": ("clock[CURSOR] = clock[NEXT_CURSOR];", ""),
    "updates are not counted": ("clock[UPDATES] + counts;", "clock[UPDATES];"),
    "the update penalizes biases": ("bool inside = false;", "bool inside = matrices > 0;"),
    "a pack is updated once for all its items": (
        "for (int k = 0; k < width; k++)",
        "for (int k = 0; k < 1; k++)",
        2,
    ),
    "the rest after whole packs is forgotten": ("clip, whole, size)", "clip, size, size)"),
    "a batch without weight is updated": (
        "counts = !clock || rates[SHARE] != 0;",
        "counts = true;",
    ),
    "losses of a batch count by its weight": ("rows / sum;", "1;"),
    "gradients are made longer": ("norm > max_norm ? max_norm / norm : 1", "max_norm / norm"),
    "gradients are not scaled": ("clock ? rates[CLIP] : 1", "1"),
    "predictions go to the first rows": ("+ clock[CURSOR] * cols;", ";"),
    "a loss reads the first rows again": ("if (moves && first_thread())", "if (false)"),
    "rows in order are the first ones": (": at;", ": at - first;"),
    "the weight of all batches is that of the last": (
        "rates[TOTAL] += sum;",
        "rates[TOTAL] = sum;",
    ),
    "a row in registers is summed over its first items": ("k < Group::KEPT; k++", "k < 1; k++"),
    "dropout counts from the first row of the part": ("clock[FIRST_ROW] + own_row", "own_row"),
    "dropout knows no places": (
        "data[i] = arguments[i];",
        "data[i] = i == POSITIONS ? 0 : arguments[i];",
    ),
    "dropout leaves out what is left of a row": (
        "cols % 4 ? (cols + 6) / 4 : cols / 4",
        "cols / 4",
    ),
    "a row that is not there keeps what was there": (
        "= {};\n      if (source >= 0)",
        ";\n      if (source < 0) continue;",
    ),
    "a row that is not there has a gradient": (
        "d_outputs[row * cols + col] = 0;",
        "d_outputs[0] = 1;",
    ),
    "dropout counts from the first row of another batch": ("clock[FIRST_ROW] = numbers[3];", ""),
    "a part of the sum of columns is missing": ("k < 8", "k < 7"),
    "all members take the order of the first": ("order[member(row) * step + at]", "order[at]"),
    "a gradient is that of one member": ("real(rows.rows)) * rows.members", "real(rows.rows))"),
    "a loss is the sum over the members": ("* loss / rows.members;", "* loss;"),
    "members drop the same units": ("layer + member * layers", "layer"),
    "a prediction is that of the first member": ("member < members; member++", "false; member++"),
    "the scales of outputs have no part in the gradient": ("gradient *= layer.scale[own];", ""),
    "all members have the scales of the first": ("/ layer.rows * layer.cols +", "* 0 +"),
    "chunks run to the last row": ("min(first + chunk, (long long)rows)", "rows"),
    "the penalty takes the first matrix for all": ("begin = bounds[2 * k]", "begin = bounds[0]"),
    "the softmax of a block is not divided": (
        "const real scale = 1 / total.sum",
        "const real scale = 1",
    ),
}
"""Mistakes: what is replaced in the source, by what, and the number of its occurrence, if not 1.

A barrier that is missing is a race, which `test_cuda_races.py` looks for.
"""

OF_ADDRESSES = "packs are taken where they do not lie whole"
"""The mistake that changes no number on a host: the kernel ends with an error."""


def battery(kernels: HostKernels, *, reversed: bool) -> None:
    """A few checks that between them run every part of the source, in float64."""
    launcher = HostLauncher("float64", kernels=kernels, reversed=reversed)
    for cols in (33, 1000):
        x, labels = draw((3, cols), "float64"), np.array([cols - 1, 1, 7])
        assert_close(*run(launcher, "softmax", x), "float64")
        for form in (labels, np.eye(cols)[labels]):
            assert_row_losses(launcher, x, form, "float64")
    d_out, out = draw((700, 33), "float64"), draw((701, 33), "float64")[1:]
    found, wanted = backward_bias(launcher, d_out, out)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-10)
    weight = np.linspace(0.1, 1, 23)
    spec = network(rule=RULES["adam"], l2=0.1)
    assert_agrees(spec, launcher, batch=2, weight=weight)  # graphs of eight and of one
    assert_weighted_epochs_agree(spec, launcher, weighted=True, norm=0.2)
    # Adam hardly sees by what gradients are scaled; plain descent sees that short ones are left
    # alone.
    assert_weighted_epochs_agree(
        replace(spec, rule=RULES["sgd"]), launcher, weighted=False, norm=100.0
    )
    assert_infers_in_blocks(launcher)
    assert_takes_any_address(launcher)
    spec = network(l2=0.1, dropout=(0.5,), seed=3)
    assert_same_gradient(spec, launcher, part=BatchPart(40.0, first_row=5))
    for placed in (False, True):
        assert_parts_agree(spec, launcher, weight=weight, placed=placed)
    settings: dict[str, Any] = {"widths": (7, 6, 5, 4), "activations": ("tanh", "silu")}
    spec = network(**settings, dropout=(0.5, 0.2), seed=3, members=3)
    assert_agrees(spec, launcher, weight=weight)
    assert_agrees(spec, launcher, own_orders=True)
    arrays = [draw((3, 7), "float64") ** 2] * 4
    found, wanted = run(launcher, "adam_update", *arrays, t=2, learning_rate=1)
    assert_close(found[0], wanted[0], "float64")
    launcher.xp.check()


@needs_compiler
def test_the_battery_passes_on_the_source_as_it_is() -> None:
    for reversed in (False, True):
        battery(host_kernels("float64"), reversed=reversed)


@needs_compiler
@pytest.mark.attack
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mistake_in_the_source_is_noticed(mutation: str) -> None:
    text = first(SOURCE, *MUTATIONS[mutation])
    kernels = host_kernels("float64", text, quickly=mutation != OF_ADDRESSES)
    noticed = False
    for reversed in (False, True):
        try:
            with np.errstate(all="ignore"):
                noticed or battery(kernels, reversed=reversed)
        except (AssertionError, RuntimeError):
            noticed = True
    assert noticed, f"{mutation}: not noticed"


class Access(NamedTuple):
    """An access to memory that no kernel may make.

    before, after : what is replaced in the source, at its first occurrence, and by what
    told : what the kernel ends with
    """

    before: str
    after: str
    told: str


ACCESSES = {
    "beyond a pack in registers": Access("k < width", "k <= width", "beyond a variable"),
    "a pack at an address that is no multiple of its size": Access(
        "cols % PACK == 0 && aligned(x) && aligned(bias) && aligned(out)",
        "cols % PACK == 0",
        "misaligned",
    ),
}


@needs_compiler
@pytest.mark.parametrize("access", ACCESSES)
def test_an_access_to_memory_that_is_not_the_kernels_ends_it(
    make_launcher: Any, access: str
) -> None:
    """The numbers may be right on the host nevertheless."""
    before, after, told = ACCESSES[access]
    launcher = make_launcher(
        "float32", kernels=host_kernels("float32", first(SOURCE, before, after))
    )
    x = shifted(launcher, draw((5, 8), "float32"))
    with pytest.raises(RuntimeError, match=told):
        table(launching(launcher))["relu"].launch(x)


def test_the_updates_have_the_order_and_the_constants_of_the_table() -> None:
    (names,) = re.findall(r"enum Factors \{ NO_FACTORS, (.+) \};", SOURCE)
    assert names.split(", ") == [f"{name.upper()}_FACTORS" for name in FACTORS if name]
    (factor,) = re.findall(r"factor = ([\d.]+);", SOURCE)
    assert float(factor) == NADAM_DECAY
