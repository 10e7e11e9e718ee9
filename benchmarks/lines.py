"""Lines of each Python file: small files with one subject are easy to find and to read."""

from __future__ import annotations

import statistics
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    print("| folder | files | median lines | longest |\n|---|---|---|---|")
    for folder in ("kronosfw", "plugins", "tests"):
        lines = {p: len(p.read_text("utf-8").splitlines()) for p in (ROOT / folder).rglob("*.py")}
        longest = max(lines, key=lambda path: lines[path])
        print(
            f"| {folder} | {len(lines)} | {statistics.median(lines.values()):.0f} | "
            f"{longest.relative_to(ROOT)} ({lines[longest]}) |"
        )


if __name__ == "__main__":
    main()
