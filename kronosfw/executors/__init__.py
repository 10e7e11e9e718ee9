"""Where work is done: in this process, in others beside it that may die without harm, or on a cluster.

A worker is made once in each process, from what can be sent there, and then called with one task after another.
Results do not depend on where or in which order tasks are done.
"""

from .crew import Crew, End, Executor
from .inprocess import InProcess
from .mapping import Outcome, map_unordered
from .processes import Processes

__all__ = ["Crew", "End", "Executor", "InProcess", "Outcome", "Processes", "map_unordered"]
