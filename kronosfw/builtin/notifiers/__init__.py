"""The built-in notifiers: their options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from kronosfw.interfaces import NotifierConfig
from kronosfw.options import locate

if TYPE_CHECKING:
    from .command import CommandNotifier
    from .log import LogNotifier
    from .webhook import WebhookNotifier

__all__ = ["Command", "Log", "Webhook"]

_URL = re.compile(
    r"https?://([\w-]{1,63}(\.[\w-]{1,63})*\.?|\[[0-9a-fA-F:.]+\])(:\d{1,5})?([/?][!-~]*)?",
    re.ASCII | re.IGNORECASE,
)
_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_VALUE = re.compile(r"[\t -~]*")


class Log(NotifierConfig):
    """Writes a line to kronosfw's log."""

    type: Literal["log"] = "log"
    level: Literal["info", "warning", "error"] = Field(
        "warning", description="Level of the line; the command line shows warnings and errors."
    )

    def build(self) -> LogNotifier:
        from .log import LogNotifier

        return LogNotifier(self)


class Webhook(NotifierConfig):
    """Posts JSON to a URL: `text`, which Slack and its like show, and the whole record as `alert`."""

    type: Literal["webhook"] = "webhook"
    url: SecretStr = Field(description="Where to: http:// or https://. Never shown; redirects are not followed.")
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Further headers, such as Authorization. Never shown."
    )
    timeout: float = Field(10, gt=0, le=600, description="Seconds without an answer that end a try.")
    retries: int = Field(
        3, ge=0, le=10, description="Further tries where there is no answer, or 429 or 500 and above is answered."
    )
    backoff: float = Field(
        1, ge=0, le=60, description="Seconds before the second try, doubled from try to try up to a minute."
    )

    @field_validator("url")
    @classmethod
    def _can_be_asked(cls, url: SecretStr) -> SecretStr:
        """Refuse here what the standard library would refuse with the URL in its message."""
        text = url.get_secret_value()
        if "@" in text.partition("://")[2].partition("/")[0]:
            raise ValueError("put user and password into the header Authorization, not into the URL")
        if not _URL.fullmatch(text):
            raise ValueError("expected a URL such as https://host/path, special characters percent-encoded")
        return url

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value.get_secret_value())):
                raise ValueError("expected names and values of headers in ASCII, on one line")
        return headers

    def build(self) -> WebhookNotifier:
        from .webhook import WebhookNotifier

        return WebhookNotifier(self)


class Command(NotifierConfig):
    """Runs a program, without a shell, and gives it the record as JSON on its standard input."""

    type: Literal["command"] = "command"
    run: tuple[str, ...] = Field(
        min_length=1,
        exclude=True,
        repr=False,
        description="The program and its arguments. It gets the environment: secrets belong there.",
    )
    timeout: float = Field(30, gt=0, le=3600, description="Seconds after which it is killed.")

    @field_validator("run")
    @classmethod
    def _program(cls, run: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Take a program with a folder for a path, which begins at the configuration file's folder."""
        from pathlib import Path

        program, *arguments = run
        if not program or any("\0" in word for word in run):
            raise ValueError("expected a program and its arguments, such as [notify-send, kronosfw]")
        if Path(program).name != program:
            program = str(locate(Path(program), info))
        return program, *arguments

    def build(self) -> CommandNotifier:
        from .command import CommandNotifier

        return CommandNotifier(self)
