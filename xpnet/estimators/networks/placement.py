"""The backend of a fit, and the rows of the fit on it."""

from typing import NamedTuple

from scipy.sparse import issparse

from xpnet.backend import Backend, floating_dtype
from xpnet.data.sources import Source
from xpnet.dispatch import Choice, choose, get_backend
from xpnet.distributed.ranks import Ranks
from xpnet.distributed.sources import source_rows
from xpnet.estimators.settings import FitSettings
from xpnet.learning.weights import weights_in_dtype
from xpnet.models import Network
from xpnet.models.inputs import bring, is_host, own
from xpnet.models.network import contiguous_rows
from xpnet.training import LabeledRows


class Place(NamedTuple):
    """The backend and the dtype of a fit.

    choice : the backend, and why it was chosen; dtype : of the network
    """

    choice: Choice
    dtype: str


def choose_place(settings: FitSettings, X: object, network: Network | None) -> Place:
    """Choose where a fit computes: where its network lives, if it goes on with one.

    network : the network that the fit goes on with; None for a new one
    """
    if network is None:
        choice = choose(X, backend=settings.backend)
    else:
        choice = network.choice
    if issparse(X) and not is_host(choice.backend):
        choice = Choice(get_backend("numpy"), "X is sparse, which NumPy and SciPy multiply")
    if network is not None:
        return Place(choice, network.spec.dtype)
    return Place(choice, settings.dtype or _dtype_of_rows(settings, X, choice.backend))


def _dtype_of_rows(settings: FitSettings, X: object, backend: Backend) -> str:
    """Return the dtype in which a new network computes rows.

    On the host L-BFGS computes in float64, as SciPy does, whatever X is.
    """
    is_precise = not settings.makes_epochs and is_host(backend)
    return "float64" if is_precise else floating_dtype(X, backend)


def place_rows(rows: LabeledRows, place: Place, ranks: Ranks) -> LabeledRows:
    """Bring rows to a backend, in a dtype; targets and weights are copies.

    ranks : the processes that share the rows of a source
    """
    backend = place.choice.backend
    dtype = place.dtype
    Y = own(bring(rows.Y, backend, None if rows.Y.ndim == 1 else dtype), backend)
    weight = None
    if rows.weight is not None:
        in_dtype = weights_in_dtype(rows.weight, dtype, "sample_weight")
        weight = own(bring(in_dtype, backend, dtype), backend)
    if isinstance(rows.X, Source):
        return source_rows(rows.X, Y, weight, ranks)
    return LabeledRows(contiguous_rows(bring(rows.X, backend, dtype)), Y, weight)
