"""Draw docs/forecast.svg: what `kronosfw run` shows of the quick start."""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from kronosfw.loading import load
from kronosfw.pipeline import run
from kronosfw.report import print_run

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart.yaml"


def main() -> None:
    console = Console(record=True, width=104, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kronosfw.yaml")
        path.write_text(QUICKSTART.read_text("utf-8"), "utf-8")
        config, plugins = load(path)
        # The folder and the time it took belong to this run alone.
        report = replace(run(config, plugins), store="sqlite:///kronosfw.db", seconds=1.5)
        print_run(report, config, console)
    console.save_svg(str(Path(__file__).with_name("forecast.svg")), title="kronosfw run kronosfw.yaml")


if __name__ == "__main__":
    main()
