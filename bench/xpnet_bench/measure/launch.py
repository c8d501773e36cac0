"""Programs that a contender starts: each prints one line of JSON as its last words."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from xpnet import BackendError

LIMIT = 240.0
"""Maximum number of seconds of a program; the contender, which waits for it, has 300."""


def launch(command: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
    """Run a program with these variables; raises BackendError with its last words where it
    fails.
    """
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise BackendError(f"its program gave no answer within {LIMIT:g} s") from None
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())[-200:]
        raise BackendError(
            f"its program ended with exit code {error.returncode}: {reason}"
        ) from None
    return json.loads(done.stdout.splitlines()[-1])
