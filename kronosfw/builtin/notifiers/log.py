"""The notifier ``log`` at work."""

from __future__ import annotations

import logging

from kronosfw.alerts import headline
from kronosfw.types import Alert

from . import Log

log = logging.getLogger(__name__)


class LogNotifier:
    """See ``Log``."""

    def __init__(self, options: Log) -> None:
        self._level = logging.getLevelNamesMapping()[options.level.upper()]

    def notify(self, alert: Alert) -> None:
        log.log(self._level, "%s", headline(alert))
