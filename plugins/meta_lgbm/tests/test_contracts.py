"""Both ensemblers keep the contract."""

from __future__ import annotations

import pytest
from kronosfw_meta_lgbm.options import DirectionLgbm, MetaLgbm

from kronosfw.testing import EnsemblerContract


class TestMeta(EnsemblerContract):
    @pytest.fixture
    def options(self):
        return MetaLgbm(least=100, leaf_rows=20, rounds=16)


class TestDirection(EnsemblerContract):
    @pytest.fixture
    def options(self):
        return DirectionLgbm(least=100, leaf_rows=20, rounds=16)
