"""A notifier that keeps what it is told in a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from kronosfw.alerts import alert_as_json
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import Notifier, NotifierConfig
from kronosfw.options import LocalPath
from kronosfw.types import Alert


class Journal(NotifierConfig):
    """Adds each alert to a file, as a line of JSON."""

    type: Literal["journal"] = "journal"
    path: LocalPath = Field(description="The file, made where it is missing.")

    def build(self) -> Notifier:
        return JournalFile(self.path)


class JournalFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def notify(self, alert: Alert) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(alert_as_json(alert)) + "\n")


@hookimpl
def register_notifiers() -> Sequence[type[NotifierConfig]]:
    return [Journal]
