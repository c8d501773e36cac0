"""The settings of a fit of a table: the constructor's parameters, checked and resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xpnet.backend import Backend, NetworkSpec, UpdateRule
from xpnet.backend.spec import Loss
from xpnet.models.inputs import one_each
from xpnet.tabular.encodings.encoding_target import Task
from xpnet.tabular.ensemble.best_epoch import Patience
from xpnet.tabular.quality import LABEL_BATCHES, Quality
from xpnet.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class TableSettings:
    """The settings of a fit. A name that is not explained is that of a parameter.

    quality : the numbers of the quality
    hidden : widths of the hidden layers
    has_chosen_layers, has_chosen_dropout, has_chosen_updates : whether the user has chosen the
        hidden layers, the dropout, and the learning rate or the weight decay
    networks : their number; None for the numbers of the quality
    rule : the update rule of the solver
    learning_rate : of the first epoch
    batch_size : None for that of the quality
    epochs : largest number of epochs; None for as many as the rows allow
    patience : epochs without a lower validation loss after which a training ends
    seconds : the limit of time, inf for none
    """

    task: Task
    quality: Quality
    hidden: tuple[int, ...]
    has_chosen_layers: bool
    has_chosen_dropout: bool
    has_chosen_updates: bool
    members: int
    networks: int | None
    activation: str | Sequence[str]
    loss: Loss
    loss_numbers: tuple[float, ...]
    rule: UpdateRule
    learning_rate: float
    dropout: float
    label_smoothing: float
    batch_size: int | None
    epochs: int | None
    patience: Patience
    validation_fraction: float
    refit: bool
    seconds: float
    n_jobs: int | None
    backend: str | Backend | None
    dtype: str
    precision: str
    monotonic_cst: Mapping[str, int] | ArrayLike | None = None

    @property
    def has_classes(self) -> bool:
        """Return whether targets are labels."""
        return self.task == "classification"

    def network_spec(
        self, *, inputs: int, outputs: int, monotonic: tuple[int, ...] = ()
    ) -> NetworkSpec:
        """Return the description of the networks. monotonic : the sign of each input, or ()"""
        layers = len(self.hidden)
        return NetworkSpec(
            widths=(inputs, *self.hidden, outputs),
            members=self.members if layers else 1,  # without shared weights all would be one
            activations=one_each("activation", self.activation, layers),
            loss=self.loss,
            loss_numbers=self.loss_numbers,
            monotonic=monotonic,
            rule=self.rule,
            dtype=self.dtype,
            dropout=(self.dropout,) * layers if self.dropout else (),
        )

    def batch_size_of(self, rows: int) -> int:
        """Return the rows of a batch for a number of rows."""
        if self.batch_size is not None:
            return self.batch_size
        batches = LABEL_BATCHES if self.has_classes else self.quality.number_batches
        return next(size for minimum, size in batches if rows >= minimum)

    def network_counts(self, rows: int) -> tuple[int, int]:
        """Return the smallest and the largest number of networks for a number of rows."""
        if self.networks is not None:
            return self.networks, self.networks
        counts = self.quality.network_counts
        return next((low, high) for minimum, low, high in counts if rows >= minimum)
