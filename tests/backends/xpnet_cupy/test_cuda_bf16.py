"""Training in bfloat16 with float32 parameters: against float64, within what 8 bits allow, and
where it is refused.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.cuda import cupy_on_host
from helpers.cuda.checks import BATCH, ROWS, RULES, assert_parts_agree, data, make, train, weights
from helpers.cuda.cupy_on_host import Graph, cupy
from helpers.cuda.host import HostLauncher, build, needs_compiler
from xpnet_cupy import CupyBackend, launches
from xpnet_cupy.cuda import SOURCE
from xpnet_numpy import NumpyBackend

from xpnet.backend import NetworkSpec
from xpnet.steps import ReferenceStep

pytestmark = needs_compiler
ROUNDING = 2.0**-8  # of one number to the 8 bits of bfloat16


@pytest.fixture(scope="module")
def bf16(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kernels that store bfloat16."""
    return build(SOURCE, "float32", tmp_path_factory.mktemp("bf16"), bf16=True)


@pytest.fixture(params=[False, True], ids=["forward", "reversed"])
def halved(
    request: pytest.FixtureRequest, libraries: dict[str, Any], lt: Any, bf16: Any
) -> Iterator[HostLauncher]:
    made = HostLauncher(libraries["float32"], "float32", lt, reversed=request.param, bf16=bf16)
    yield made
    made.xp.check()


def rounded(x: Any) -> Any:
    """To the nearest of 8 bits, ties to even, by arithmetic on the mantissa: float32 -> float32."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    return np.ldexp(np.round(mantissa * 256) / 256, exponent).astype(np.float32)


def values(bits: Any) -> Any:
    """Of bfloat16's bits."""
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def test_parameters_are_rounded_to_the_nearest(halved: HostLauncher) -> None:
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    ties = rounded(x[:100]) * np.float32(1 + 2.0**-8)  # most in the middle of two
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, 1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8], np.float32
    )
    given = halved.xp.guarded(np.concatenate([x, ties, special]))
    copy = halved.xp.empty(given.shape, "uint16")
    launches.copy_parameters(halved.of_batches, given, copy)()
    found = values(copy)
    finite = np.abs(np.nan_to_num(given, nan=np.inf)) < 3.39e38
    np.testing.assert_array_equal(found[finite], rounded(given[finite]))
    assert (
        found[-7:-2].tolist()[:3] == [-0.0, np.inf, -np.inf]
        and np.isnan(found[-4])
        and np.isinf(found[-3])
    )


def assert_near(step: Any, spec: NetworkSpec, X: Any, Y: Any, **options: Any) -> None:
    """The gradient is float64's up to one rounding for each number on a path: input, weight and
    output of each layer on the way forth, gradient and weight on the way back. Errors add up at
    worst; the largest gradient is the scale.
    """
    wide = ReferenceStep(
        NetworkSpec(spec.widths, spec.activations, loss=spec.loss, l2=spec.l2), NumpyBackend(), ""
    )
    for one in (step, wide):
        one.params.update(weights(spec))
    found = step.gradient(X, Y, **options)
    labels = Y if Y.ndim == 1 else Y.astype(np.float64)
    wanted = wide.gradient(X.astype(np.float64), labels, **options)
    paths = 5 * spec.layers * ROUNDING
    assert found == pytest.approx(wanted, rel=paths)
    for name, gradient in wide.gradients.items():
        error = np.abs(step.gradients[name] - gradient).max()
        assert error <= paths * np.abs(gradient).max(), (
            f"{name}: {error / np.abs(gradient).max() / ROUNDING} roundings"
        )


@pytest.mark.parametrize(
    "form", ["indices", "soft", "squared_error", "logistic_cross_entropy", "poisson"]
)
@pytest.mark.parametrize(
    "activations",
    [
        ("relu", "relu"),
        ("tanh", "relu"),
        ("logistic", "softplus"),
        ("gelu", "silu"),
        ("elu", "leaky_relu"),
    ],
)
def test_a_gradient_is_that_of_float64_within_8_bits(
    halved: HostLauncher, activations: Any, form: Any
) -> None:
    loss = {} if form in ("indices", "soft") else {"loss": form}
    spec = NetworkSpec((7, 12, 10, 4), activations, dtype="float32", l2=0.1, **loss)  # type: ignore[arg-type]
    step = make(spec, halved)
    assert_near(step, spec, *data(spec, form if not loss else "values"))
    kinds = {
        array.dtype.name
        for array in (step._training_runs.memory.x, *step._training_runs.memory.d_outputs)
    }
    assert kinds == {"uint16"} and step._training_runs.memory.outputs[-1].dtype == "float32"
    assert step.gradients.flat.dtype == step.params.flat.dtype == "float32"


@pytest.mark.parametrize("widths", [(7, 6, 1), (1, 5, 3), (8, 16, 24, 8)])
@pytest.mark.parametrize("rows", [1, ROWS])
def test_widths_and_batches_of_one(
    halved: HostLauncher, widths: tuple[int, ...], rows: int
) -> None:
    spec = NetworkSpec(widths, ("relu",) * (len(widths) - 2), loss="squared_error", dtype="float32")
    assert_near(make(spec, halved), spec, *data(spec, "values", rows=rows))


@pytest.mark.parametrize(
    "epilogue", [4, 134, 136, 256], ids=["bias", "relu_aux_bias", "drelu", "bgrada"]
)
def test_a_missing_epilogue_falls_back(libraries: Any, lt: Any, bf16: Any, epilogue: int) -> None:
    fresh = type(lt)(lt.library, lambda: 0, 0)
    spec = NetworkSpec((7, 12, 10, 4), ("relu", "relu"), dtype="float32")
    lt.library.fake_refuse(epilogue, False)
    try:
        step = make(spec, HostLauncher(libraries["float32"], "float32", fresh, bf16=bf16))
        assert_near(step, spec, *data(spec, "indices"))
    finally:
        lt.library.fake_refuse(0, False)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_training_goes_where_float64s_goes(halved: HostLauncher, rule: Any) -> None:
    """Losses of some steps; and products read the parameters that the last update has left, however
    small it was.
    """
    spec = NetworkSpec((7, 12, 4), ("relu",), rule=rule, dtype="float32", l2=0.01)
    wide = NetworkSpec((7, 12, 4), ("relu",), rule=rule, l2=0.01)
    X, Y = data(spec, "indices")
    step, reference = make(spec, halved), ReferenceStep(wide, NumpyBackend(), "")
    for one in (step, reference):
        one.params.update(weights(spec))
    found, wanted = (
        train(step, X, Y, batch=BATCH),
        train(reference, X.astype(np.float64), Y, batch=BATCH),
    )
    np.testing.assert_allclose(found, wanted, rtol=5 * spec.layers * ROUNDING)
    np.testing.assert_array_equal(values(step._network.copies.flat), rounded(step.params.flat))


def test_small_updates_are_not_lost(halved: HostLauncher) -> None:
    """They are too small for bfloat16, and add up in float32."""
    spec = NetworkSpec((7, 12, 4), ("relu",), dtype="float32")
    X, Y = data(spec, "indices")
    step = make(spec, halved)
    step.params.update(weights(spec))
    before = step.params.flat.copy()
    step.epoch(X, Y, learning_rate=1e-4, batch_size=ROWS)
    moved = step.params.flat - before
    assert 0 < np.abs(moved).max() < ROUNDING * np.abs(before).max()
    np.testing.assert_allclose(moved, -1e-4 * step.gradients.flat, atol=1e-7)


def test_parts_of_batches(halved: HostLauncher) -> None:
    """Of several ranks, with dropout, filled up by rows that are not there."""
    spec = NetworkSpec((7, 6, 4), ("relu",), dtype="float32", dropout=(0.3,), seed=5, l2=0.1)
    assert_parts_agree(spec, halved, *data(spec, "indices"), rtol=5 * spec.layers * ROUNDING)


def test_what_a_user_writes_to_parameters_is_read(halved: HostLauncher) -> None:
    spec = NetworkSpec((7, 12, 4), ("relu",), dtype="float32")
    X, Y = data(spec, "indices")
    step = make(spec, halved)
    losses = []
    for scale in (0.0, 1.0):
        step.params.update({name: scale * array for name, array in weights(spec).items()})
        losses.append(step.epoch(X, Y, learning_rate=0.1, batch_size=ROWS))
    assert losses[0] == pytest.approx(np.log(4), rel=1e-6) and losses[1] != losses[0]


MUTATIONS = {
    "the update leaves the copy as it was": ("if (copy) {", "if (false) {"),
    "only the first item of a pack is copied": ("k < width; k++) rounded", "k < 1; k++) rounded"),
    "what is stored is cut off": ("+ (rest + (half & 1) > 0x8000u)", ""),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mistake_in_the_source_is_noticed(
    mutation: str, libraries: Any, lt: Any, tmp_path: Any
) -> None:
    old, new = MUTATIONS[mutation]
    text = SOURCE
    assert old in text
    library = build(text.replace(old, new, 1), "float32", tmp_path, optimise=False, bf16=True)
    launcher = HostLauncher(libraries["float32"], "float32", lt, bf16=library)
    with pytest.raises(AssertionError):
        test_training_goes_where_float64s_goes(launcher, RULES["adam"])


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    with cupy_on_host.installed():
        yield


@pytest.mark.usefixtures("installed")
class TestOnACard:
    """Over the stand-in for CuPy."""

    def test_it_is_told_and_recorded(self) -> None:
        spec = NetworkSpec(
            (20, 140, 140, 10), ("relu", "relu"), rule=RULES["adam"], dtype="float32"
        )
        X, Y = cupy.asarray(np.ones((20, 20), "float32")), cupy.asarray(np.arange(20) % 10)
        step: Any = CupyBackend("bf16").compile_step(spec)
        step.params.update(weights(spec))
        for _ in range(2):
            step.epoch(X, Y, learning_rate=0.1, batch_size=2, order=np.arange(20))
        assert (
            len(step._training_runs.works) == 1
            and step._training_runs.memory.x.dtype == "uint16"
            and Graph.made
        )
        assert "outputs and gradients between layers, in bf16, all sums in fp32" in step.why

    def test_float64_has_its_own(self) -> None:
        step = CupyBackend("bf16").compile_step(NetworkSpec((3, 2), ()))
        assert not isinstance(step, str) and "products in fp64" in step.why
