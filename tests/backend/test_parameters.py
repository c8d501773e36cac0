"""Parameters: one flat buffer where arrays can be written in place, separate arrays elsewhere, one
mapping for both.
"""

import numpy as np
import pytest

import xpnet
from xpnet.backend import NetworkSpec, Parameters
from xpnet.dispatch import choose

SPEC = NetworkSpec((5, 3, 2), ("relu",), dtype="float32")
SHAPES = {"W1": (5, 3), "b1": (3,), "W2": (3, 2), "b2": (2,)}


@pytest.fixture
def params(library) -> Parameters:
    """Zeros on one library after the other."""
    found = choose(library.make(np.zeros(1, np.float32)), backend=library.backend)
    return Parameters.zeros(SPEC, found.backend)


def test_names_shapes_and_dtype_follow_the_network(params, library):
    assert {name: library.numpy(array).shape for name, array in params.items()} == SHAPES
    assert {library.numpy(array).dtype.name for array in params.values()} == {"float32"}
    assert not any(library.numpy(array).any() for array in params.values())


def test_an_assignment_replaces_the_values(params, library, rng):
    wanted = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    for name, value in wanted.items():
        params[name] = library.make(value)
    for name, value in wanted.items():
        np.testing.assert_array_equal(library.numpy(params[name]), value)
    everything = np.concatenate([np.ravel(library.numpy(group)) for group in params.groups])
    np.testing.assert_array_equal(
        everything, np.concatenate([value.ravel() for value in wanted.values()])
    )


def test_what_an_update_returns_is_taken_over(params, library):
    params.replace_groups([group + 1 for group in params.groups])
    assert all((library.numpy(array) == 1).all() for array in params.values())


def test_names_and_shapes_are_fixed(params, library):
    with pytest.raises(xpnet.InputError, match="fixed names: W1, b1, W2, b2"):
        params["W3"] = library.make(np.zeros((2, 2), np.float32))
    with pytest.raises(xpnet.InputError, match=r"W1 .*\(5, 3\); got \(3, 5\)"):
        params["W1"] = library.make(np.zeros((3, 5), np.float32))
    with pytest.raises(xpnet.InputError, match="cannot be removed"):
        del params["W1"]


@pytest.mark.parametrize("align", [1, 8])
def test_views_of_a_flat_buffer(align):
    params = Parameters.zeros(SPEC, xpnet.get_backend("numpy"), align=align)
    assert len(params.groups) == 1 and params.flat.size == sum(
        -(-n // align) * align for n in (15, 3, 6, 2)
    )
    for slot in SPEC.slots(align):
        assert slot.offset % align == 0
        params[slot.name][...] = 7
        assert params.flat[slot.offset] == 7


def test_slots_do_not_overlap_and_leave_no_gap():
    end = 0
    for slot in NetworkSpec(
        (4, 3, 3, 1), ("tanh", "tanh"), names=("a", "b", "c", "d", "e", "f")
    ).slots():
        assert slot.offset == end
        end += int(np.prod(slot.shape))
    assert end == 4 * 3 + 3 + 3 * 3 + 3 + 3 + 1
