"""CPU time of the commands that must feel instant, beside that of an empty Python."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

RUNS = 9


def cpu(*command: str) -> float:
    """Return the median CPU seconds, user and system, of a command."""
    seconds = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds)


def main() -> None:
    kronosfw = [sys.executable, "-m", "kronosfw"]
    empty = cpu(sys.executable, "-c", "pass")
    print(f"| command | CPU s (median of {RUNS}) | × empty Python |\n|---|---|---|")
    print(f"| `python -c pass` | {empty:.3f} | 1 |")
    for arguments in (["--help"], ["plugins"]):
        seconds = cpu(*kronosfw, *arguments)
        print(f"| `kronosfw {' '.join(arguments)}` | {seconds:.3f} | {seconds / empty:.0f} |")


if __name__ == "__main__":
    main()
