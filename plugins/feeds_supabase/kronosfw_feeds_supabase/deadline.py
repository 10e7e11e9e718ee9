"""A bound for the whole of an answer over HTTP, however slowly its body comes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

import httpx


class Deadline:
    """Ends an answer that takes longer than some seconds; the client's own bound begins anew with each piece."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def begin(self, request: httpx.Request) -> None:
        """Note that a request is sent now."""
        request.extensions["deadline"] = time.monotonic() + self._seconds

    def bound(self, response: httpx.Response) -> None:
        """Let reading the answer raise httpx.ReadTimeout once time is over."""
        response.stream = _Bounded(response)


class _Bounded(httpx.SyncByteStream):
    def __init__(self, response: httpx.Response) -> None:
        self._stream = cast(httpx.SyncByteStream, response.stream)
        self._request = response.request

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            if time.monotonic() > self._request.extensions["deadline"]:
                raise httpx.ReadTimeout("the answer takes too long", request=self._request)
            yield piece

    def close(self) -> None:
        self._stream.close()
