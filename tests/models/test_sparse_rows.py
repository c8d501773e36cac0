"""SciPy's sparse rows in ``Network`` give the numbers of the same dense rows, on every backend."""

import numpy as np
import pytest
from scipy import sparse

import xpnet
from xpnet.errors import InputError


def rows(count, kind=sparse.csr_array):
    return kind(sparse.random_array((count, 4), density=0.5, rng=np.random.default_rng(0)))


def network(backend, **settings):
    return xpnet.FeedforwardNeuralNet(4, 5, 3, 0.1, backend=backend, rng=0, **settings)


@pytest.mark.parametrize(
    ("count", "kind"),
    [
        *((40, sparse.csr_array), (400, sparse.csr_array), (4000, sparse.csr_array)),
        *((40, sparse.csr_matrix), (40, sparse.coo_array), (40, sparse.csc_array)),
    ],
)
@pytest.mark.parametrize("backend", ["numpy", "numba", None])
def test_sparse_rows_train_as_dense_ones(backend, count, kind):
    X, Y = rows(count, kind), np.arange(count) % 3
    one, other = network(backend), network(backend)
    held_out = rows(10, kind)
    one.fit(X, Y, epochs=2, batch_size=20, validation=(held_out, Y[:10]))
    other.fit(X.toarray(), Y, epochs=2, batch_size=20, validation=(held_out.toarray(), Y[:10]))
    one.step(X, Y), other.step(X.toarray(), Y)
    np.testing.assert_allclose(one.history.loss, other.history.loss, rtol=1e-12)
    np.testing.assert_allclose(
        one.history.validation_loss, other.history.validation_loss, rtol=1e-12
    )
    np.testing.assert_allclose(one.predict(X), other.predict(X.toarray()), rtol=1e-9)
    np.testing.assert_allclose(one.loss(X, Y), other.loss(X.toarray(), Y), rtol=1e-12)
    np.testing.assert_allclose(one.gradient(X, Y), other.gradient(X.toarray(), Y), rtol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_sparse_and_dense_rows_take_turns(backend):
    X, Y = rows(40), np.arange(40) % 3
    one, other = (network(backend, optimizer="adam") for _ in range(2))
    for k in range(4):
        one.fit(X if k % 2 else X.toarray(), Y, epochs=1, batch_size=8)
        other.fit(X.toarray(), Y, epochs=1, batch_size=8)
    np.testing.assert_allclose(one.history.loss, other.history.loss, rtol=1e-12)


@pytest.mark.parametrize("count", [40, 4000])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_sparse_rows_with_nan_are_refused(backend, count):
    X, Y = rows(count), np.arange(count) % 3
    X.data[7] = np.nan
    model = network(backend)
    with pytest.raises(InputError, match="`X` must hold finite numbers"):
        model.fit(X, Y, epochs=1, batch_size=20)
    assert model.history.epochs == 0 and np.isfinite(model.params["W1"]).all()


@pytest.mark.parametrize(
    "call", [lambda m, *d: m.fit(*d, epochs=1), lambda m, *d: m.step(*d)], ids=["fit", "step"]
)
def test_a_network_off_the_host_refuses_sparse_rows(call):
    torch = pytest.importorskip("torch")
    model = network(None)
    model.predict(torch.zeros((1, 4)))
    with pytest.raises(InputError, match=r"torch.* dense rows.*toarray"):
        call(model, rows(40), np.arange(40) % 3)
