"""Retrains kronos-nano's adapters on the real daily bars of two asset classes, month by month, as cron would.

    KRONOSFW_DATA=… python benchmarks/retraining.py [--slots 2024-06-01 2024-07-01 …]

The configuration is ``examples/retrain_real.yaml``: once with its pooled base, and once without, so that the first
retraining of each class goes on from kronos-nano itself. Prints what each candidate was judged by.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from kronosfw.loading import load
from kronosfw.report_retraining import print_retraining
from kronosfw.retraining import retrain
from kronosfw.training import train

EXAMPLE = Path(__file__).parents[1] / "examples" / "retrain_real.yaml"
SLOTS = ["2024-06-01", "2024-07-01"]
BASES = {"with the pooled base": True, "without a base": False}


def main() -> None:
    """Print a table for each month, class and guard."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", nargs="+", default=SLOTS)
    parser.add_argument("--threads", type=int, default=None)
    asked = parser.parse_args()
    content = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    if asked.threads:
        content["forecasters"][0]["threads"] = asked.threads
    with tempfile.TemporaryDirectory() as folder:
        for name, pooled in BASES.items():
            content["checkpoint_root"] = f"{folder}/{name.replace(' ', '_')}"
            content["store"] = f"sqlite:///{folder}/results.db"
            file = Path(folder) / "config.yaml"
            file.write_text(yaml.safe_dump(content), "utf-8")
            config, plugins = load(file)
            if pooled:
                print(f"{name}: {train(config, plugins).version}", flush=True)
            for slot in asked.slots:
                now = datetime.fromisoformat(slot).replace(tzinfo=UTC) + timedelta(hours=1)
                print(f"\n{name}, {slot}", flush=True)
                print_retraining(retrain(config, plugins, if_due=True, now=now))


if __name__ == "__main__":
    main()
