"""Rows of PostgREST, page by page, however few the server gives at once."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from postgrest import CountMethod, SyncPostgrestClient
from postgrest.exceptions import APIError

from kronosfw.errors import ConfigError, DataError

from .answers import ChangedError, check
from .options import SupabaseFeed
from .transport import Transient, patiently

Filters = Sequence[tuple[str, str, str]]
"""Column, operator and operand of each condition."""

Row = dict[str, Any]

_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
_PAGE = 10_000
_ATTEMPTS = 3


class Pages:
    """Asks a project. All raise ConfigError, DataError, or FeedDown once patience has run out."""

    def __init__(self, options: SupabaseFeed) -> None:
        url = options.url.get_secret_value().rstrip("/")
        key = options.key.get_secret_value() if options.key else ""
        # A new key is no JWT: as a bearer it would be refused.
        bearer = {"Authorization": f"Bearer {key}"} if _JWT.fullmatch(key) else {}
        self.name = name = url.partition("://")[2]
        self._options = options

        def look(response: httpx.Response) -> None:
            if not response.is_success:
                table = response.request.url.path.rpartition("/")[2]
                check(response.status_code, response.read(), name, options.db_schema, table)

        client = httpx.Client(timeout=options.timeout, event_hooks={"response": [look]})
        weakref.finalize(self, client.close)
        self._client = SyncPostgrestClient(
            url + options.rest_path,
            schema=options.db_schema,
            headers={"apikey": key, **bearer},
            http_client=client,
            retry_enabled=False,
        )

    def some(self, table: str, selected: str, filters: Filters, most: int) -> list[Row]:
        """Return any ``most`` rows that pass the filters, or as many as there are."""

        def build(query: Any) -> Any:
            return _filtered(query.select(selected), filters).limit(most)

        rows: list[Row] = self._ask(table, build).data
        return rows

    def rows(
        self, table: str, columns: Mapping[str, str], filters: Filters, key: str, most: int | None = None
    ) -> list[Row]:
        """Return the rows that pass the filters, or the ``most`` with the highest ``key``, ordered from that down.

        ``columns`` are theirs, with how each is selected. Read again where the table changes meanwhile; raises
        DataError where it goes on changing.
        """
        for _ in range(_ATTEMPTS):
            try:
                return self._once(table, columns, filters, key, most)
            except ChangedError:
                continue
        raise DataError(f"{self.name}, table {table}: it changes while it is read; try again")

    def _once(
        self, table: str, columns: Mapping[str, str], filters: Filters, key: str, most: int | None
    ) -> list[Row]:
        """Read page by page.

        Each page tells how many rows there were to read, which the next one must confirm. It begins at the key
        where the one before ended, without the rows of that key already read.
        """
        order = [key, *(name for name in columns if name != key)]
        rows: list[Row] = []
        at, ties, left = None, 0, None
        while True:
            wanted = _PAGE if most is None else min(_PAGE, most - len(rows))
            start: Filters = [] if at is None else [(key, "lte", str(at))]

            def build(query: Any, start: Filters = start, wanted: int = wanted, ties: int = ties) -> Any:
                query = query.select(*columns.values(), count=CountMethod.exact)
                query = _filtered(query, [*filters, *start])
                for name in order:
                    query = query.order(quoted(name), desc=True)
                return query.limit(wanted).offset(ties)

            answer = self._ask(table, build)
            total, found = answer.count - ties, answer.data
            if total != (total if left is None else left) or (total and not found):
                raise ChangedError
            rows += found
            left = total - len(found)
            if not left or len(rows) == most:
                return rows
            last = found[-1][key]
            ties = sum(row[key] == last for row in found) + (ties if last == at else 0)
            at = last

    def _ask(self, table: str, build: Callable[[Any], Any]) -> Any:
        def once() -> Any:
            try:
                answer = build(self._client.from_(table)).execute()
            except httpx.TimeoutException:
                raise Transient(f"no answer within {self._options.timeout:g} s") from None
            except httpx.HTTPError as error:
                raise Transient(f"cannot connect, or the connection was lost ({type(error).__name__})") from None
            except (APIError, ValueError):
                answer = None
            if answer is None or not isinstance(answer.data, list):
                text = "answers, but not as PostgREST does; are `url` and `rest_path` right?"
                raise ConfigError(f"{self.name}: {text}")
            return answer

        return patiently(once, self.name, self._options.patience)


def quoted(name: str) -> str:
    """Return a column's name as PostgREST takes it for one, whatever it holds."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _filtered(query: Any, filters: Filters) -> Any:
    for condition in filters:
        query = query.filter(*condition)
    return query
