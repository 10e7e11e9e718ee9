"""The tables that ``init --supabase`` prints: who may read them, and that they are made only once."""

from __future__ import annotations

import psycopg
import pytest
from kronosfw_feeds_supabase.options import SupabaseFeed

from tests.postgrest import Api

pytestmark = pytest.mark.postgres

POLICIES = (
    "select tablename, policyname, roles::text, qual from pg_policies where schemaname = 'public' order by 1, 2"
)
GRANTS = (
    "select table_name, grantee, privilege_type from information_schema.role_table_grants "
    "where table_schema = 'public' order by 1, 2, 3"
)
SECURED = "select relname from pg_class where relnamespace = 'public'::regnamespace and relrowsecurity order by 1"


def rights(project: Api) -> list[list[tuple[object, ...]]]:
    with psycopg.connect(project.database_url) as connection:
        return [connection.execute(query).fetchall() for query in (POLICIES, GRANTS, SECURED)]


def test_who_is_signed_in_reads_new_tables(project: Api):
    project.run(SupabaseFeed.ddl())
    policies, _, secured = rights(project)
    assert [row[1:] for row in policies] == [("read_all", "{authenticated}", "true")] * 5
    assert len(secured) == 5


def test_running_it_again_opens_nothing(project: Api):
    """Whatever was narrowed stays so, be it by another policy, by none, or by taking a grant back."""
    project.run(
        SupabaseFeed.ddl(),
        "drop policy read_all on ohlcv_1h",
        "create policy read_all on ohlcv_1h for select to authenticated using (symbol = 'A')",
        "drop policy read_all on ohlcv_1d",
        "revoke select on economic_calendar from authenticated",
        "drop table economic_indicators",
        "create table economic_indicators (released_at timestamptz)",
        "revoke select on economic_indicators from authenticated",
    )
    before = rights(project)
    project.run(SupabaseFeed.ddl())
    assert rights(project) == before
