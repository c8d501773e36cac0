"""Checkpoints: the state of a training as a file, from which a killed run continues bit by bit."""

import warnings
from dataclasses import asdict
from pathlib import Path

import numpy

from xpnet.backend import NetworkSpec, StepState
from xpnet.errors import InputError, ModelFileError
from xpnet.modelfile.container import Description, read, write
from xpnet.modelfile.disk import TEMPORARY, remove
from xpnet.modelfile.networks import check_parameters_of
from xpnet.modelfile.values import from_json, to_json
from xpnet.training import Callback, History, Training, TrainingState
from xpnet.typing import SavedState

KIND = "Checkpoint"
"""The kind of a checkpoint in its description."""
PATTERN = "checkpoint-*.safetensors"
"""Names of checkpoints; the asterisk is the number of epochs."""


class Checkpoint(Callback):
    """A callback that writes the state of a training to a folder; a killed run can then continue.

    Parameters
    ----------
    directory : str or Path
        A folder for the checkpoints of this one run. It is created if it does not exist.
    every : int, default 1
        Number of epochs between two checkpoints; one is also written after the last epoch.
    keep : int, default 2
        Number of the newest checkpoints that stay.

    Raises
    ------
    InputError
        When ``every`` or ``keep`` is less than 1. ``fit`` raises it when the folder holds
        checkpoints of another run, or of a run that ``resume_from`` does not continue, and when
        another run writes to the folder at the same time.
    ModelFileError
        Raised by ``fit`` when a checkpoint cannot be written.

    Notes
    -----
    A program that fits with ``resume_from`` and is started again after a crash, a power cut or
    ``kill -9`` continues after the last epoch that was written, with parameters, optimizer,
    history, random generator and the other callbacks. It ends with bit for bit the weights of a run
    without the interruption, if everything else (data, model, arguments, threads) is the same.
    Callbacks that keep no state, such as `xpnet.training.Progress`, may be added or left out. A
    checkpoint appears whole or not at all. On several ranks rank 0 writes, and another number of
    ranks may continue.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> X, Y = numpy.random.default_rng(0).normal(size=(40, 3)), numpy.arange(40) % 2
    >>> def train(epochs):
    ...     net = xpnet.FeedforwardNeuralNet(3, 4, 2, rng=1, backend="numpy")
    ...     net.fit(X, Y, epochs=epochs, rng=numpy.random.default_rng(2),
    ...             callbacks=[xpnet.Checkpoint("runs/a")],
    ...             resume_from=xpnet.Checkpoint.latest("runs/a"))
    ...     return net
    >>> net = train(2)
    >>> xpnet.Checkpoint.latest("runs/a").done
    2
    >>> train(5).history.epochs
    5
    """

    def __init__(self, directory: str | Path, every: int = 1, keep: int = 2) -> None:
        if every < 1 or keep < 1:
            raise InputError(f"`every` and `keep` must be at least 1; got {every} and {keep}.")
        self.directory: Path = Path(directory)
        self.every = every
        self.keep = keep

    @staticmethod
    def latest(directory: str | Path) -> TrainingState | None:
        """Read the newest whole checkpoint of a folder, for ``fit(resume_from=...)``.

        Damaged checkpoints are passed over with a warning.

        Parameters
        ----------
        directory : str or Path
            The folder of one run.

        Returns
        -------
        TrainingState or None
            The state: ``done`` is the number of epochs that the run has made, ``spec`` the network,
            ``history`` the losses. None for a folder without a whole checkpoint.
        """
        for path in sorted(Path(directory).glob(PATTERN), reverse=True):
            try:
                return read_checkpoint(path)
            except ModelFileError as error:
                warnings.warn(f"A damaged checkpoint was passed over: {error}", stacklevel=2)
        return None

    def train_begin(self, training: Training) -> None:
        """Make the folder, and require that its checkpoints belong to this run.

        Parameters
        ----------
        training : Training
            The training that begins.

        Raises
        ------
        InputError
            When the folder holds checkpoints of another run.
        ModelFileError
            When the folder cannot be made.
        """
        if not training.is_main_process:
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelFileError(
                f"The folder of checkpoints must be writable; {self.directory} cannot be created: "
                f"{error}. Choose another folder."
            ) from error
        for unfinished in self.directory.glob(f".{PATTERN}.*{TEMPORARY}"):  # of a killed process
            remove(unfinished)
        newest = self.latest(self.directory)
        epochs = (training.done, training.history.epochs)
        if newest is not None and (newest.done, len(newest.history["loss"])) != epochs:
            raise InputError(
                f"A folder must hold the checkpoints of one run; {self.directory} holds one of a "
                f"run that has made {newest.done} epochs, and this run has made {training.done}. "
                "Pass resume_from=Checkpoint.latest(...) of that folder, or choose another."
            )
        self._own_paths = set(self.directory.glob(PATTERN))

    def between_epochs(self, training: Training) -> None:
        """Write a checkpoint if one is due, and remove those that are no longer needed.

        Parameters
        ----------
        training : Training
            The training under way.

        Raises
        ------
        InputError
            When another run has written to the folder.
        ModelFileError
            When the checkpoint cannot be written.
        """
        last = training.stop or training.done >= training.epochs
        if not training.is_main_process or (training.done % self.every and not last):
            return
        path = self.directory / PATTERN.replace("*", f"{training.history.epochs:08d}")
        paths = set(self.directory.glob(PATTERN))
        for other in paths - self._own_paths:
            raise InputError(
                f"A folder must hold the checkpoints of one run; another run has written {other} "
                "since this one began, and nothing was removed. Choose a folder for each run."
            )
        write_checkpoint(path, training.state())
        earlier = sorted(other for other in paths if other < path)
        # Later ones were damaged when this run began: it would have continued from a whole one.
        for old in paths - {path, *earlier[max(len(earlier) + 1 - self.keep, 0) :]}:
            remove(old)
        self._own_paths.add(path)


def write_checkpoint(path: str | Path, state: TrainingState) -> None:
    """Write a training's state to a file.

    Raises ModelFileError where the file cannot be written, InputError for the state of a callback
    that a file cannot hold.
    """
    history = {
        name: numpy.asarray(values, dtype="float64") for name, values in state.history.items()
    }
    tree = {**vars(state), "step": vars(state.step), "history": history}
    del tree["spec"]
    arrays: dict[str, numpy.ndarray] = {}
    write(path, Description(KIND, state.spec, {"state": to_json(tree, arrays)}, {}), arrays)


def read_checkpoint(path: str | Path) -> TrainingState:
    """Return the state in a file.

    Raises ModelFileError for a file that is missing, damaged, hostile, of a newer format, or no
    checkpoint.
    """
    description, arrays = read(path)
    try:
        if description.kind != KIND:
            raise ValueError("it is a model; xpnet.load opens it")
        state = training_state(
            description.network, from_json(description.settings["state"], arrays)
        )
        if arrays:
            raise ValueError(f"{', '.join(arrays)} have no place in its description")
        return state
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ModelFileError(
            f"The state of a training must be whole; {path} holds none: {error}."
        ) from error


def training_state(spec: NetworkSpec, tree: SavedState) -> TrainingState:
    """Return the state in a tree, if it is one of this network.

    Raises ValueError, TypeError, KeyError, AttributeError or OverflowError otherwise.
    """
    step = StepState(**tree["step"])
    if set(step.buffers) != set(spec.rule.buffers):
        raise ValueError("its buffers are not those of its optimizer")
    for arrays in (step.params, *step.buffers.values()):
        check_parameters_of(spec, arrays)
    history = History(**{name: values.tolist() for name, values in tree["history"].items()})
    are_counts = all(
        type(count) is int and 0 <= count < 2**63 for count in (tree["rows"], tree["done"], step.t)
    )
    are_states = isinstance(tree["rng"], dict | None) and all(
        isinstance(state, dict) for state in tree["callbacks"].values()
    )
    is_flag = type(tree["stop"]) is bool
    if not (are_counts and are_states and is_flag and tree["done"] <= history.epochs):
        raise ValueError(
            "its counts, or the states of its callbacks and of its random generator, are not those "
            "of a training"
        )
    return TrainingState(**{**tree, "spec": spec, "step": step, "history": asdict(history)})
