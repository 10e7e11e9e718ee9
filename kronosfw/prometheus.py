"""What came of the last run, for Prometheus: a file for the textfile collector of the node exporter."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from . import __version__
from .errors import DONE, PARTIAL, ConfigError, KronosfwError
from .files import write_atomically
from .isolation import reason
from .rows import as_datetime

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

    from .runs import RunReport

log = logging.getLogger(__name__)
_LAST_SUCCESS = "kronosfw_run_last_success_timestamp_seconds"
METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "kronosfw_run_exit_code": ("Exit code of the last run.", ()),
    "kronosfw_run_timestamp_seconds": ("When the last run ended.", ()),
    _LAST_SUCCESS: ("When the last run ended that stored results; 0 for never.", ()),
    "kronosfw_run_info": ("The last run, and the version of kronosfw.", ("run_id", "version")),
    "kronosfw_run_cutoff_timestamp_seconds": ("The moment as of which was forecast.", ()),
    "kronosfw_run_seconds": ("How long the run took.", ()),
    "kronosfw_run_stage_seconds": ("How long reading, each member, serving and storing took.", ("stage",)),
    "kronosfw_run_symbols": ("Symbols that were asked for.", ()),
    "kronosfw_run_symbols_served": ("Symbols that have a forecast.", ()),
    "kronosfw_run_symbols_resumed": ("Symbols of these that an earlier run had finished.", ()),
    "kronosfw_run_failures": ("What failed; the stage run for the run as a whole.", ("stage", "model")),
    "kronosfw_run_retries": ("Tries that were lost to a worker that died or to a timeout.", ()),
    "kronosfw_run_rows_stored": ("Rows that were added or changed in the store.", ()),
    "kronosfw_run_rows_spooled": ("Rows that wait in a spool file.", ()),
}
"""Every metric, all gauges: what it says, and its own labels."""
Sample = tuple[str, tuple[str, ...], float]
"""A metric, the values of its own labels, and its value."""


def require() -> None:
    """Raise ConfigError where the library that writes the format is missing."""
    if find_spec("prometheus_client") is None:
        raise ConfigError("metrics needs the package prometheus-client: pip install 'kronosfw[metrics]'")


def write_run(path: Path, report: RunReport, labels: Mapping[str, str]) -> None:
    """Write what came of a run that has ended, with the labels on each metric.

    A file that cannot be written is a warning.
    """
    _write(path, report.exit_code, _of_run(report), labels)


def write_failure(path: Path, error: BaseException, seconds: float, labels: Mapping[str, str]) -> None:
    """Write that a run has failed after so many seconds; when one last did not is kept, as the file there tells."""
    if isinstance(error, KronosfwError):
        code = error.exit_code
    else:
        code = 130 if isinstance(error, KeyboardInterrupt) else KronosfwError.exit_code
    _write(path, code, [("kronosfw_run_failures", ("run", ""), 1), ("kronosfw_run_seconds", (), seconds)], labels)


def _of_run(report: RunReport) -> Iterator[Sample]:
    yield "kronosfw_run_info", (report.run_id, __version__), 1
    yield "kronosfw_run_cutoff_timestamp_seconds", (), as_datetime(report.cutoff).timestamp()
    yield "kronosfw_run_seconds", (), report.seconds
    for stage, seconds in report.took.items():
        yield "kronosfw_run_stage_seconds", (stage,), seconds
    yield "kronosfw_run_symbols", (), len(report.symbols)
    yield "kronosfw_run_symbols_served", (), len(report.served)
    yield "kronosfw_run_symbols_resumed", (), len(report.resumed)
    for where, count in sorted(Counter((f.stage, f.model) for f in report.failures).items()):
        yield "kronosfw_run_failures", where, count
    yield "kronosfw_run_retries", (), report.lost
    yield "kronosfw_run_rows_stored", (), report.stored
    yield "kronosfw_run_rows_spooled", (), report.spooled_rows


def _write(path: Path, exit_code: int, samples: Iterable[Sample], labels: Mapping[str, str]) -> None:
    """Write the samples of a run that has just ended."""
    now = time.time()
    ended: list[Sample] = [
        ("kronosfw_run_exit_code", (), exit_code),
        ("kronosfw_run_timestamp_seconds", (), now),
        (_LAST_SUCCESS, (), now if exit_code in (DONE, PARTIAL) else _last_success(path)),
    ]
    try:
        content = _text([*ended, *samples], labels)

        def write(file: BinaryIO) -> None:
            file.write(content)
            # The exporter runs as another user.
            os.chmod(file.name, 0o644)

        write_atomically(path, write)
    except Exception as error:
        log.warning("the metrics cannot be written: %s", reason(error))


def _text(samples: Iterable[Sample], labels: Mapping[str, str]) -> bytes:
    """Return samples in the text format, metrics in the order of ``METRICS``."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily

    families = {
        name: GaugeMetricFamily(name, help_, labels=[*labels, *own]) for name, (help_, own) in METRICS.items()
    }
    for name, values, value in samples:
        families[name].add_metric([*labels.values(), *values], value)
    registry = CollectorRegistry()
    registry.register(_Collected([family for family in families.values() if family.samples]))
    return generate_latest(registry)


class _Collected:
    """Metrics that are there already, as a registry asks for them."""

    def __init__(self, families: list[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> list[GaugeMetricFamily]:
        return self._families


def _last_success(path: Path) -> float:
    """Return when a run last had results, as the file there tells; 0 where it tells nothing."""
    try:
        from prometheus_client.parser import text_string_to_metric_families

        text = path.read_text("utf-8")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        return families[_LAST_SUCCESS].samples[0].value
    except Exception:
        return 0.0
