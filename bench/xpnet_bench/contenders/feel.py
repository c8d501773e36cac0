"""The estimators that a user has to choose from, as they are without a setting."""

import pickle
import tempfile
import time
from importlib import metadata, util
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy
from packaging.requirements import Requirement

import xpnet
from xpnet_bench.contenders.contender import Contender, Round, Task
from xpnet_bench.jobs import Job, data

KINDS = {
    "xpnet-mlp": ("xpnet:MLPClassifier", "xpnet"),
    "xpnet-table": ("xpnet:TabularClassifier", "xpnet"),
    "sklearn-mlp": ("sklearn.neural_network:MLPClassifier", "scikit-learn"),
    "boosting": ("sklearn.ensemble:HistGradientBoostingClassifier", "scikit-learn"),
}
"""The class and the distribution of each variant."""

MIB, KIB = 2**20, 2**10


class Estimator(Contender):
    """One estimator with its defaults, but for the seed."""

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        place, self.distribution = KINDS[variant]
        self.kind = resolve_name(place)

    def facts(self) -> dict[str, str]:
        """Return the versions of what computes."""
        return {name: metadata.version(name) for name in ("xpnet", "scikit-learn", "numpy")}

    def _fit(self, X: Any, y: Any) -> Any:
        return self.kind(random_state=data.SEED).fit(X, y)

    def make_first_fit(self, job: Job) -> Task:
        """The first fit of a process, with the imports and the compilations that it needs."""
        return Task(lambda: self._fit(*data.rows(job)))

    def make_fit_iris(self, job: Job) -> Task:
        """A fit of scikit-learn's iris; estimators differ, so that answers are not compared."""
        X, y = _iris()
        return Task(lambda: self._fit(X, y))

    def make_predict_array(self, job: Job) -> Task:
        """The class probabilities of one row of an array."""
        X, y = _iris()
        model = self._fit(X, y)
        return Task(lambda: model.predict_proba(X[:1]))

    def make_predict_frame(self, job: Job) -> Task:
        """The class probabilities of one row of a frame of pandas, fitted on a frame."""
        import pandas

        X, y = _iris()
        frame = pandas.DataFrame(X, columns=["sepal", "width", "petal", "breadth"])
        model, row = self._fit(frame, y), frame.iloc[:1]
        return Task(lambda: model.predict_proba(row))

    def make_predict_loaded(self, job: Job) -> Task:
        """The class probabilities of one row, by a model that was saved and loaded."""
        X, y = _iris()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            self._save(self._fit(X, y), path)
            model = self._load(path)
        return Task(lambda: model.predict_proba(X[:1]))

    def make_store(self, job: Job) -> Task:
        """Save a model and load it; besides, the size of the file and of the installation."""
        model, installed = self._fit(*_iris()), installed_bytes(self.distribution) / MIB

        def store() -> list[Round]:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model"
                start = time.perf_counter()
                self._save(model, path)
                self._load(path)
                seconds = time.perf_counter() - start
                note = {"file_kib": path.stat().st_size / KIB, "installed_mib": installed}
            return [Round(seconds, note)]

        return Task(store, times_itself=True)

    def _save(self, model: Any, path: Path) -> None:
        """Write a file in the way of the library: xpnet's own, for scikit-learn a pickle."""
        if self.distribution == "xpnet":
            model.save(path)
        else:
            path.write_bytes(pickle.dumps(model))

    def _load(self, path: Path) -> Any:
        if self.distribution == "xpnet":
            return xpnet.load(path)
        return pickle.loads(path.read_bytes())


def _iris() -> tuple[numpy.ndarray, numpy.ndarray]:
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True)


def installed_bytes(name: str) -> int:
    """Return the size of a distribution and of all that it requires, without extras."""
    return sum(map(_own_bytes, _with_requirements(name, set())))


def _with_requirements(name: str, seen: set[str]) -> set[str]:
    """Add a distribution and what it requires here to the names that were seen."""
    name = name.lower().replace("_", "-")
    if name not in seen:
        seen.add(name)
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                _with_requirements(requirement.name, seen)
    return seen


def _own_bytes(name: str) -> int:
    """Return the size of the files of a distribution; one that is installed for editing has its
    packages elsewhere.
    """
    files = metadata.files(name) or []
    sizes = [Path(file.locate()).stat().st_size for file in files if Path(file.locate()).is_file()]
    is_editable = name == "xpnet" and not any(file.name == "__main__.py" for file in files)
    packages = ("xpnet", "xpnet_numpy", "xpnet_numba", "xpnet_cupy", "xpnet_jax", "xpnet_torch")
    for package in packages if is_editable else ():
        spec = util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            sizes += [path.stat().st_size for path in Path(folder).rglob("*.py")]
    return sum(sizes)
