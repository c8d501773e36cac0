"""Scripts of the folder .ci, as modules."""

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

CI = Path(__file__).parents[2] / ".ci"


def script_of_ci(name: str) -> Any:
    """The script of a name, whose command does not run."""
    loader = SourceFileLoader(f"{name.replace('-', '_')}_script", str(CI / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
