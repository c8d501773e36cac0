"""Networks that are pickled and copied: the copy has all that the original has, and shares nothing
with it.
"""

import copy
import pickle

import numpy as np
import pytest

import xpnet

COPIES = [lambda model: pickle.loads(pickle.dumps(model)), copy.copy, copy.deepcopy]


def trained(backend, **options):
    return xpnet.FeedforwardNeuralNet(7, 5, 4, backend=backend, optimizer="adam", rng=0, **options)


@pytest.mark.parametrize("make_copy", COPIES, ids=["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_copy_trains_on_as_the_original_does(backend, make_copy, blobs):
    model = trained(backend)
    model.fit(*blobs, epochs=3, batch_size=16)
    twin = make_copy(model)
    np.testing.assert_array_equal(twin.predict(blobs[0]), model.predict(blobs[0]))
    for one in (model, twin):
        one.fit(*blobs, epochs=3, batch_size=16, rng=8)
    assert twin.history.loss == model.history.loss and twin.backend_ == backend
    np.testing.assert_array_equal(twin.params["W1"], model.params["W1"])


def test_a_copy_shares_nothing(blobs):
    model = trained("numpy")
    model.fit(*blobs, epochs=1)
    before = model.params["W1"].copy()
    twin = copy.copy(model)
    twin.fit(*blobs, epochs=2)
    np.testing.assert_array_equal(model.params["W1"], before)
    assert model.history.epochs == 1


def test_a_copy_of_an_adopted_library_lives_nowhere_yet(blobs):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = trained(None)
    model.fit(torch.asarray(blobs[0]), torch.asarray(blobs[1]), epochs=1)
    twin = copy.deepcopy(model)
    np.testing.assert_allclose(
        twin.predict(blobs[0]), model.predict(torch.asarray(blobs[0])), rtol=1e-12
    )


def test_an_untrained_network_is_copied(blobs):
    model = trained(None)
    np.testing.assert_array_equal(copy.copy(model).params["W1"], model.params["W1"])
