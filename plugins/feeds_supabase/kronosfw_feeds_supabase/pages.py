"""Rows of PostgREST, page by page, however few the server gives at once."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import httpx
from postgrest import CountMethod, SyncPostgrestClient
from postgrest.exceptions import APIError

from kronosfw.errors import ConfigError, DataError

from .answers import NO_TIME, ChangedError, OperandError, check
from .deadline import Deadline
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
        deadline = Deadline(options.timeout)

        def look(response: httpx.Response) -> None:
            deadline.bound(response)
            if not response.is_success:
                table = response.request.url.path.rpartition("/")[2]
                check(response.status_code, response.read(), name, options.db_schema, table)

        client = httpx.Client(
            timeout=options.timeout, event_hooks={"request": [deadline.begin], "response": [look]}
        )
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

    def has_times(self, table: str, column: str) -> bool:
        """Tell whether a column holds times, which do not compare with any word as a text does."""
        try:
            self.some(table, quoted(column), [(column, "eq", "word")], 1)
        except OperandError as error:
            return error.code == NO_TIME
        return False

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

            answer = self._ask(table, build, columns)
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

    def _ask(self, table: str, build: Callable[[Any], Any], names: Collection[str] = ()) -> Any:
        """Return an answer; where columns are named, its rows have them, and it tells how many there are."""

        def once() -> Any:
            # What went wrong is raised outside of the handlers: the client's own errors hold the key.
            wrong: Exception
            try:
                answer = build(self._client.from_(table)).execute()
            except httpx.TimeoutException:
                wrong = Transient(f"no answer within {self._options.timeout:g} s")
            except httpx.HTTPError as error:
                wrong = Transient(f"cannot connect, or the connection was lost ({type(error).__name__})")
            except (APIError, ValueError, RecursionError, httpx.InvalidURL):
                wrong = self._strange()
            else:
                if _fits(answer.data, names) and not (names and answer.count is None):
                    return answer
                wrong = self._strange()
            raise wrong

        return patiently(once, self.name, self._options.patience)

    def _strange(self) -> ConfigError:
        return ConfigError(
            f"{self.name}: answers, but not as PostgREST does; are `url`, `rest_path` and the tables' names right?"
        )


def quoted(name: str) -> str:
    """Return a column's name as PostgREST takes it for one, whatever it holds."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _filtered(query: Any, filters: Filters) -> Any:
    for column, operator, operand in filters:
        # The client's own filters leave a name bare, and one such as limit would be none.
        query.request.params = query.request.params.add(quoted(column), f"{operator}.{operand}")
    return query


def _fits(rows: Any, names: Collection[str]) -> bool:
    """Tell whether rows have the columns of these names, or else those of the first one."""
    return isinstance(rows, list) and all(
        isinstance(row, dict) and row.keys() >= set(names or rows[0]) for row in rows
    )
