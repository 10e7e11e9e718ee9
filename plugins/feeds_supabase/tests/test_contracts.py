"""The feed keeps the contract over both transports."""

from __future__ import annotations

import pytest
from kronosfw_feeds_supabase.options import SupabaseFeed

from kronosfw.testing import FeedContract
from tests.postgrest import Api

from .projects import made

pytestmark = pytest.mark.postgres

FILL = """
insert into ohlcv_1d select s, d, 10, 11, 9, 10 + extract(day from d), 5
from unnest(array['AAA', 'BBB', 'CCC']) s,
generate_series('2024-01-01Z'::timestamptz, '2024-05-31Z', '1 day') d
"""
EVENTS = """
insert into economic_calendar (event, kind, scheduled_at, known_at, symbols)
select 'e' || d, 'earnings', d, d - interval '9 days', array['AAA']
from generate_series('2024-01-01T13:30Z'::timestamptz, '2024-05-31Z', '7 days') d
"""


class Contract(FeedContract):
    symbols = ("AAA", "BBB")
    transport = ""

    @pytest.fixture
    def options(self, project: Api):
        project.run(SupabaseFeed.ddl(), FILL, EVENTS)
        return made(project, self.transport)()


class TestPostgres(Contract):
    transport = "postgres"


class TestRest(Contract):
    transport = "rest"
