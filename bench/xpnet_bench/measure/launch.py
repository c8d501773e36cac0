"""Programs that a contender starts: each prints a list of ``Round`` as JSON in its last line."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence

from xpnet import BackendError
from xpnet_bench.contenders.contender import Round

LIMIT = 240.0
"""Maximum number of seconds of a program; the contender, which waits for it, has 300."""


def launch(command: Sequence[str], variables: Mapping[str, str]) -> list[Round]:
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
    return [Round(*fields) for fields in json.loads(done.stdout.splitlines()[-1])]
