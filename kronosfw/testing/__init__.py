"""Contract suites for plugin authors: subclass one in a test module and give one fixture, ``options``.

::

    class TestMine(ForecasterContract):
        @pytest.fixture
        def options(self):
            return Mine(window=20)
"""

from .base import ComponentContract
from .encoders import EncoderContract
from .ensemblers import EnsemblerContract
from .feeds import FeedContract
from .forecasters import ForecasterContract
from .notifiers import NotifierContract
from .policies import CheckpointPolicyContract
from .trainers import TrainerContract

__all__ = [
    "CheckpointPolicyContract",
    "ComponentContract",
    "EncoderContract",
    "EnsemblerContract",
    "FeedContract",
    "ForecasterContract",
    "NotifierContract",
    "TrainerContract",
]
