import pytest
from kronosfw_ewma import Ewma

from kronosfw.testing import ForecasterContract


class TestEwma(ForecasterContract):
    @pytest.fixture
    def options(self):
        return Ewma(decay=0.9)
