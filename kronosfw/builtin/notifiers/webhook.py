"""The notifier ``webhook`` at work."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from kronosfw.alerts import alert_as_json, headline
from kronosfw.types import Alert

from . import Webhook

LONGEST = 60.0
"""Seconds that are waited for the next try at most, whatever the server asks for."""


@dataclass(frozen=True)
class Trouble:
    """Why a try failed, in words that hold no part of the request."""

    text: str
    passing: bool
    """Whether another try may do better."""
    wait: float = 0.0
    """Seconds that the server asks to wait."""


class WebhookNotifier:
    """See ``Webhook``."""

    def __init__(self, options: Webhook) -> None:
        self._options = options
        self._opener = build_opener(_NoRedirect)

    def notify(self, alert: Alert) -> None:
        """Post the alert; raises ConnectionError where no try succeeds."""
        body = json.dumps({"text": headline(alert), "alert": alert_as_json(alert)}, allow_nan=False).encode()
        options = self._options
        for attempt in range(options.retries + 1):
            trouble = self._post(body)
            if trouble is None:
                return
            if not trouble.passing or attempt == options.retries:
                raise ConnectionError(f"the webhook {trouble.text} at try {attempt + 1} of {options.retries + 1}")
            time.sleep(min(max(options.backoff * 2**attempt, trouble.wait), LONGEST))

    def _post(self, body: bytes) -> Trouble | None:
        headers = {name: value.get_secret_value() for name, value in self._options.headers.items()}
        try:
            request = Request(  # noqa: S310 (the options take http and https alone)
                self._options.url.get_secret_value(),
                body,
                {"Content-Type": "application/json", **headers},
                method="POST",
            )
            self._opener.open(request, timeout=self._options.timeout).close()
        except HTTPError as error:
            with error:
                passing = error.code == 429 or error.code >= 500
                return Trouble(f"answered {error.code}", passing, _seconds(error.headers.get("Retry-After")))
        except (OSError, HTTPException) as error:
            cause = error.reason if isinstance(error, URLError) else error
            return Trouble(f"gave no answer ({type(cause).__name__})", passing=True)
        except ValueError as error:
            return Trouble(f"cannot be asked ({type(error).__name__})", passing=False)
        return None


class _NoRedirect(HTTPRedirectHandler):
    """Leaves a redirect as the answer that it is: a secret goes to the host it was meant for alone."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _seconds(retry_after: str | None) -> float:
    """Return the seconds that a Retry-After asks for, as a number or a date (RFC 9110, 10.2.3); else 0."""
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()
