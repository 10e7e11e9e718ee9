"""Trying again what a database could not do, for as long as somebody is willing to wait."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_exponential, wait_random

from ..errors import StoreError
from . import faults
from .address import Address

T = TypeVar("T")

_FIRST, _LONGEST = 0.2, 5.0
"""Seconds between tries, which grow."""

log = logging.getLogger(__name__)


def patiently(work: Callable[[], T], patience: float, address: Address) -> T:
    """Do the work; where it fails in a way that may pass, do it again until ``patience`` seconds are over.

    The last try begins when they are over. Raises StoreError of one line.
    """
    growing = wait_exponential(multiplier=_FIRST, max=_LONGEST) + wait_random(0, _FIRST)

    def passes(error: BaseException) -> bool:
        return isinstance(error, DBAPIError) and faults.is_transient(error)

    def wait(state: RetryCallState) -> float:
        return min(growing(state), max(patience - (state.seconds_since_start or 0.0), 0.0))

    def tell(state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        if state.attempt_number == 1 and isinstance(error, DBAPIError):
            log.warning("%s; trying again for up to %g s", faults.describe(error, address), patience)

    tries = Retrying(
        retry=retry_if_exception(passes),
        wait=wait,
        stop=stop_after_delay(patience),
        before_sleep=tell,
        reraise=True,
    )
    started = time.monotonic()
    try:
        done = tries(work)
    except DBAPIError as error:
        raise StoreError(faults.describe(error, address)) from None
    if tries.statistics["attempt_number"] > 1:
        log.info("store %s: goes on after %.1f s", address.shown, time.monotonic() - started)
    return done
