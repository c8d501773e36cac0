"""Runs that go on: the hint after Ctrl-C, and the check that a resumed run has the rows, columns
and options of its checkpoints.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields

import joblib
import numpy

from xpnet.backend.precision import get_precision, is_precision_set
from xpnet.cli.options import option_name
from xpnet.cli.output import echo, visible
from xpnet.cli.rows.file_rows import FileRows
from xpnet.cli.settings import CHANGEABLE, TrainSettings
from xpnet.dispatch import choose
from xpnet.distributed import current_ranks
from xpnet.errors import XpnetError
from xpnet.modelfile.checkpoint import PATTERN
from xpnet.tabular.ensemble.recipe import may_round
from xpnet.tabular.rows.large_tables import has_large_size
from xpnet.tabular.rows.target_coding import loss_of_classes
from xpnet.training import Callback, TrainingState

FINGERPRINT_BLOCKS = 64
"""Maximum blocks of a table that show whether a run is resumed with the same rows."""

BY_DEFAULT = "by default"
"""What stands in checkpoints and messages for an option that the user has left out."""

REMEDY = "Give data and options as before, or choose another --checkpoint-dir."


@contextmanager
def telling_how_to_go_on(settings: TrainSettings) -> Iterator[None]:
    """After Ctrl-C, print how a run with checkpoints goes on, if it has written one."""
    try:
        yield
    except KeyboardInterrupt:
        folder = settings.checkpoint_dir
        is_first_rank = not current_ranks().rank  # it writes the checkpoints of all
        if is_first_rank and folder is not None and any(folder.rglob(PATTERN)):
            echo(
                visible(
                    f"The epochs so far are in {folder}. Give the same command with --resume to go "
                    "on."
                ),
                err=True,
            )
        raise


class SameRun(Callback):
    """Keeps rows, columns and options of a training in checkpoints, and resumes with no others.

    rows : that are trained on
    defaults : the values of options that the user leaves out, by name; None for no single value
    """

    def __init__(
        self, rows: FileRows, settings: TrainSettings, defaults: Mapping[str, object]
    ) -> None:
        blocks = range(0, rows.frame.blocks, -(-rows.frame.blocks // FINGERPRINT_BLOCKS))
        values = [joblib.hash(table.to_pydict()) for table in rows.tables(blocks)]
        further = [rows.links.groups, rows.links.time]
        if rows.factors is not None:
            further.append(rows.factors)
        if rows.shares is not None:
            further.append(rows.shares)
        chosen = rows.features.chosen
        self.fingerprint: str = joblib.hash([chosen, rows.y, values, rows.weight, *further])
        self.columns: list[str] = list(rows.features.names)  # a hash of a dict ignores its order
        self.options: dict[str, str] = _options_of(settings)
        self.defaults: Mapping[str, object] = defaults
        self.may_round: bool = _may_round(rows, settings)
        self.precision: str = get_precision()
        if self.may_round and not is_precision_set():
            self.precision = "auto"
        count = len(rows) if rows.weight is None else numpy.count_nonzero(rows.weight)
        self.is_large: bool = has_large_size(int(count), len(rows.features.names))

    def state(self) -> dict[str, object]:
        """Return the fingerprint of the rows, the columns in their order, the options, and the
        precision, the default one included.
        """
        return {
            "rows": self.fingerprint,
            "columns": self.columns,
            "options": self.options,
            "precision": self.precision,
            "is_large": self.is_large,
            "is_divided_before_encoding": True,
        }

    def load_state(self, state: Mapping[str, object]) -> None:
        """Raise XpnetError for other options, columns or rows.

        Checkpoints of earlier versions have neither columns nor options, and divided large tables
        in another way: some of their training rows would be validation rows now. Smaller tables
        were encoded before they were divided, and their inputs mean something else now.
        """
        if state.get("is_large", False) != self.is_large:
            raise XpnetError(
                "The checkpoints belong to a run of an earlier version, which divided large tables "
                "in another way. Choose another --checkpoint-dir."
            )
        if not (self.is_large or state.get("is_divided_before_encoding", False)):
            raise XpnetError(
                "The checkpoints belong to a run of an earlier version, which encoded the columns "
                "in another way. Choose another --checkpoint-dir."
            )
        if self.may_round:
            # Checkpoints of earlier versions do not tell fp32 from the default for classes.
            _check_option("precision", state.get("precision", self.precision), self.precision)
        options = state.get("options")
        if isinstance(options, dict):
            self._check_options(options)
        columns = state.get("columns", self.columns)
        if columns != self.columns:
            same = isinstance(columns, list) and sorted(columns) == sorted(self.columns)
            difference = "the same columns in another order" if same else "other columns"
            raise XpnetError(f"The checkpoints belong to a run on {difference}. {REMEDY}")
        if state["rows"] != self.fingerprint:
            raise XpnetError(f"The checkpoints belong to a run on other rows or columns. {REMEDY}")

    def check(self, state: TrainingState) -> None:
        """Raise XpnetError for the state of a training with other options, columns or rows.

        A training compares the network first, and its message names no option.
        """
        for own in state.callbacks.values():
            if "options" in own and "rows" in own:
                self.load_state(own)

    def _check_options(self, before: Mapping[str, str]) -> None:
        """Raise XpnetError for an option with another value than before."""
        unset = _options_of(TrainSettings(data=""))  # an option that was not known then
        for name, value in self.options.items():
            default = _shown(self.defaults.get(name))
            _check_option(name, before.get(name, unset[name]), value, default)


def _check_option(name: str, before: object, value: str, default: str = BY_DEFAULT) -> None:
    """Raise XpnetError for an option whose value differs from the one before.

    default : the value of an option that the user leaves out
    """
    set_before, set_now = (default if text == BY_DEFAULT else text for text in (before, value))
    if set_before != set_now:
        raise XpnetError(
            f"The checkpoints belong to a run with {option_name(name)} {before}; got {value}. "
            f"{REMEDY}"
        )


def _options_of(settings: TrainSettings) -> dict[str, str]:
    """Return the options that a resumed run must have as before: their values as text, by name."""
    options = {
        field.name: _shown(getattr(settings, field.name))
        for field in fields(settings)
        if CHANGEABLE not in field.metadata
    }
    backend = choose(backend=settings.backend).backend.name
    return options | {"backend": backend, "precision": get_precision()}


def _shown(value: object) -> str:
    """Return the value of an option as a message shows it."""
    if value is None:
        return BY_DEFAULT
    if isinstance(value, dict) and all(isinstance(values, tuple) for values in value.values()):
        own = {column: "|".join(values) for column, values in sorted(value.items())}
        return ",".join([*value.get("", ()), *(f"{k}={v}" for k, v in own.items() if k)]) or "none"
    if isinstance(value, dict):
        return ",".join(f"{label}={_digits_of(weight)}" for label, weight in sorted(value.items()))
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)


def _digits_of(number: float) -> str:
    """Return a number as text, with more than six digits where it has more."""
    text = f"{number:g}"
    return text if float(text) == number else repr(number)


def _may_round(rows: FileRows, settings: TrainSettings) -> bool:
    """Return whether a training on rows rounds factors of products where no option says so."""
    if rows.classes is None:
        return False
    return may_round(loss_of_classes(are_ordered=settings.ordered is not None), settings.dtype)
