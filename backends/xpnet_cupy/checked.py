"""Which assumptions about a card have been checked on it: what ``first_step.py seconds`` of
tests/gpu saw, on disk for `xpnet doctor`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

PATH = Path("~/.cache/xpnet/cupy-checks.json")
"""The file with the outcomes of the last checks of each card."""


def keep_checks(machine: str, outcomes: Mapping[int, bool]) -> None:
    """Add outcomes to those of a machine that are on disk.

    machine : card, driver and CuPy; outcomes : whether an assumption holds, by its number
    """
    path = PATH.expanduser()
    outcomes_by_machine = _kept()
    outcomes_by_machine[machine] = outcomes_by_machine.get(machine, {}) | {
        str(number): ok for number, ok in outcomes.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".new")
    written.write_text(json.dumps(outcomes_by_machine, indent=1), encoding="utf-8")
    written.replace(path)


def told_checks(machine: str) -> str:
    """Return which assumptions hold on a machine, in words."""
    outcomes = _kept().get(machine)
    if not outcomes:
        return "none made with this card, driver and CuPy"
    broken = sorted(int(number) for number, ok in outcomes.items() if not ok)
    held = f"{len(outcomes) - len(broken)} of {len(outcomes)} hold"
    return f"{held}; not {', '.join(map(str, broken))}" if broken else held


def _kept() -> dict[str, dict[str, bool]]:
    """Return the outcomes by machine; none where the file is missing or is no such file."""
    try:
        outcomes_by_machine = json.loads(PATH.expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return outcomes_by_machine if isinstance(outcomes_by_machine, dict) else {}
