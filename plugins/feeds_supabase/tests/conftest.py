"""Settings and fixtures that tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.postgres import postgres
from tests.postgrest import Api, postgrest

from .projects import Options, made

__all__ = ["postgres", "postgrest"]

settings.register_profile("kronosfw", deadline=None, derandomize=True)
settings.load_profile("kronosfw")


@pytest.fixture
def project(postgrest: Api) -> Api:
    """Give a project without tables, which all roles may read as far as row-level security lets them."""
    postgrest.run(
        "drop schema public cascade",
        "create schema public",
        "grant usage on schema public to anon, authenticated, service_role",
        "alter default privileges in schema public grant select on tables to anon, authenticated, service_role",
    )
    return postgrest


@pytest.fixture(params=["postgres", "rest"])
def options(request: pytest.FixtureRequest, project: Api) -> Options:
    """Give what makes the options of a feed of the project, over each of the transports."""
    return made(project, request.param)
