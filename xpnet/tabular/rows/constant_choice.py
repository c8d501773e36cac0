"""The choice between the networks of a fit and a constant, by all validation rows and by others.

The lower of two losses of few rows is lower than that of new rows, by most where there are few rows
and where the networks are kept. So the rows of a part are predicted by the networks, or by the
constant, as the rows of the other parts choose, and related inputs are looked for among the
training rows alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy

from xpnet.tabular.rows.constant import (
    MIN_GAIN,
    MIN_HARM,
    Constants,
    Gains,
    are_clearly_positive,
)


class ValidatedNetwork(NamedTuple):
    """The predictions of a network for its validation rows.

    fold : number of these rows
    outputs : (rows, outputs) by choices of other rows; None where these were not followed
    parts : (rows,) int, the parts of the rows, None likewise
    """

    fold: int
    outputs: numpy.ndarray | None
    parts: numpy.ndarray | None


class PartOfFold(NamedTuple):
    """A part of the validation rows of a fold, both by their numbers."""

    fold: int
    part: int


@dataclass(frozen=True, eq=False)
class ConstantChoice:
    """The choice between networks and the constant, and what it would be without some rows.

    Where too little is known, the networks are chosen: without outputs by choices of other rows,
    and where rows have groups or times, since such rows say less.

    constants : of the rows; networks : of the fit
    noise_folds : the numbers of folds whose training rows show no relation of inputs and target
    may_leave_out : whether networks that predict clearly worse than the constant are left out
    may_leave_out_all : whether the constant takes the place of networks that are all left out
    """

    constants: Constants
    networks: Sequence[ValidatedNetwork]
    noise_folds: Collection[int]
    may_leave_out: bool
    may_leave_out_all: bool

    @property
    def is_constant(self) -> bool:
        """Return whether the constant is chosen, by all validation rows."""
        return self._is_constant(None)

    @property
    def beaten(self) -> list[bool]:
        """Return for each network whether the constant predicts its rows clearly better."""
        return [self._is_beaten(network, None) for network in self.networks]

    def nested_outputs(self) -> list[numpy.ndarray | None]:
        """Return for each network the outputs of its rows, as the rows of other parts choose.

        returns arrays (rows, outputs), None where the choices of the networks were not followed
        """
        constant_parts = {
            (fold, part): self._is_constant(PartOfFold(fold, part))
            for fold, part in {
                (network.fold, part)
                for network in self.networks
                if network.parts is not None
                for part in network.parts.tolist()
            }
        }
        nested: list[numpy.ndarray | None] = []
        for fold, outputs, parts in self.networks:
            if outputs is None or parts is None:
                nested.append(None)
                continue
            is_constant = [constant_parts[fold, part] for part in parts.tolist()]
            constant = self.constants.of_validation_rows(fold)
            nested.append(numpy.where(numpy.array(is_constant)[:, None], constant, outputs))
        return nested

    def _is_constant(self, left_out: PartOfFold | None) -> bool:
        """Return whether the constant is chosen without the rows of a part, None for all rows."""
        if self.may_leave_out and self.may_leave_out_all:
            if all(self._is_beaten(network, left_out) for network in self.networks):
                return True
        return self._may_be_noise(left_out) and not self._are_better(left_out)

    def _may_be_noise(self, left_out: PartOfFold | None) -> bool:
        """Return whether training rows show no relation of inputs and target.

        They are those of the fold of the rows that are left out, or else of most folds.
        """
        folds = {network.fold for network in self.networks}
        if left_out is not None:
            folds = {left_out.fold}
        return 2 * len(folds.intersection(self.noise_folds)) > len(folds)

    def _are_better(self, left_out: PartOfFold | None) -> bool:
        """Return whether the networks predict the rows of all folds better than the constant."""
        if self.constants.have_groups:
            return True
        gains = []
        for fold in sorted({network.fold for network in self.networks}):
            outputs = [network.outputs for network in self.networks if network.fold == fold]
            followed = [of_network for of_network in outputs if of_network is not None]
            parts = next(network.parts for network in self.networks if network.fold == fold)
            if parts is None or len(followed) < len(outputs):
                return True
            gains.append(self._gains(fold, numpy.mean(followed, axis=0), parts, left_out))
        values, weight = (numpy.concatenate(of_folds) for of_folds in zip(*gains, strict=True))
        return are_clearly_positive(values, weight, MIN_GAIN)

    def _is_beaten(self, network: ValidatedNetwork, left_out: PartOfFold | None) -> bool:
        """Return whether the constant predicts the rows of a network clearly better."""
        fold, outputs, parts = network
        if not self.may_leave_out or self.constants.have_groups:
            return False
        if outputs is None or parts is None:
            return False
        gains, weight = self._gains(fold, outputs, parts, left_out)
        return bool(gains.any()) and are_clearly_positive(-gains, weight, MIN_HARM)

    def _gains(
        self,
        fold: int,
        outputs: numpy.ndarray,
        parts: numpy.ndarray,
        left_out: PartOfFold | None,
    ) -> Gains:
        """Return the gains of outputs of the rows of a fold above the constant.

        left_out : the part whose rows are not asked; None for none
        """
        gains = self.constants.gains(fold, outputs)
        if left_out is None or left_out.fold != fold:
            return gains
        is_asked = parts != left_out.part
        return Gains(gains.values[is_asked], gains.weight[is_asked])
