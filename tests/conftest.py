"""Settings and fixtures that tests share."""

from __future__ import annotations

from hypothesis import settings

from tests.made_up import configure, plugins
from tests.postgres import postgres, postgres_url
from tests.retrainings import heard, retrainable

__all__ = ["configure", "heard", "plugins", "postgres", "postgres_url", "retrainable"]

settings.register_profile("kronosfw", deadline=None, derandomize=True)
settings.load_profile("kronosfw")
