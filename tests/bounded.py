"""A command in a process of its own that may use so much memory and time, and no more."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import io, sys
from contextlib import redirect_stderr, redirect_stdout
from json import dumps
from kronosfw.cli import call
found = []
for words in sys.argv[1:]:
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = call(words.split("|"))
    found.append((code, said.getvalue()))
print(dumps(found))
"""


def bounded(folder: Path, *commands: list[str], gigabytes: float = 2, seconds: float = 60) -> str:
    """Run commands one after the other within bounds; return ``[exit code, all that it said]`` of each as JSON.

    Raises CalledProcessError or TimeoutExpired where that is not enough.
    """
    most = int(gigabytes * 1024**3)
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *map("|".join, commands)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
        timeout=seconds,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
