"""Workers on a Ray cluster: actors that are replaced when they die, fall silent or are at a task for too long."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from .. import __version__
from ..errors import ConfigError, Interrupted, KronosfwError
from ..isolation import NEVER_ISOLATED, reason
from ..logs import Logging
from ..secrets import redact
from .actor import Actor, Task
from .crew import End, MakeWorker
from .elsewhere import came
from .head import Head
from .remote import Worker

_ROUND = 0.2
"""Seconds after which deadlines are looked at although nothing has ended."""
_PATIENCE = 60.0
"""Seconds within which one actor at least has to be there."""
_FETCH = 60.0
"""Seconds within which what has ended has to be here."""
_AHEAD = 2
"""Tasks that an actor has at a time: the one it is at, and one so that it need not wait for the next."""
_INSTALL = "install on its nodes what is installed here"
_ASK_LESS = "look at `ray status`, or ask for less with `cpus` and `gpus`"


class Actors:
    """So many actors, of which those work that the cluster has room for at present."""

    def __init__(
        self,
        make_worker: MakeWorker,
        workers: int,
        resources: Mapping[str, float],
        connection: AbstractContextManager[str],
    ) -> None:
        """Start actors with these resources each; the connection, to a head, lasts until they are dismissed."""
        self.room = _AHEAD * workers
        self._receive = make_worker, Logging.current()
        self._waiting: deque[Task] = deque()
        self._failed, self._had = 0, False
        self._nobody_since = time.monotonic()
        with ExitStack() as stack:
            self._head = Head(stack.enter_context(connection))
            self._start = _actor_class(resources).remote
            self._actors = [self._started() for _ in range(workers)]
            self._connection = stack.pop_all()

    def begin(self, ticket: int, task: Any, timeout: float | None) -> None:
        self._waiting.append(Task(ticket, task, timeout))
        self._hand_out()

    def end(self) -> End[Any]:
        while True:
            end = self._news()
            self._hand_out()
            if end is not None:
                return end

    def close(self) -> None:
        import ray

        with self._connection:
            for actor in self._actors:
                ray.kill(actor.handle)

    def _news(self) -> End[Any] | None:
        """Wait for a moment; return how a task ended, if one did."""
        import ray

        if self._head.is_lost():
            raise self._deserted("does not answer any more")
        for actor in self._actors:
            if actor.begun and (why := actor.given_up()):
                return self._lost(actor, why)
        awaited = {actor.first: actor for actor in self._actors if actor.first is not None}
        if not awaited:
            raise RuntimeError("no task was handed in")
        for ended in ray.wait(list(awaited), timeout=_ROUND)[0]:
            if awaited[ended].starting is None:
                return self._settled(awaited[ended])
            self._greet(awaited[ended])
        if any(actor.starting is None for actor in self._actors):
            self._nobody_since = time.monotonic()
        elif time.monotonic() - self._nobody_since > _PATIENCE:
            raise self._deserted(f"started no worker within {_PATIENCE:g} seconds", _ASK_LESS)
        return None

    def _settled(self, actor: Actor) -> End[Any]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            answer, said = ray.get(actor.first, timeout=_FETCH)
        except RayTaskError as error:
            if isinstance(error.cause, NEVER_ISOLATED):
                raise error.cause from None
            answer, said = (b"", reason(error.cause), 0.0), ""
        except RayError as error:
            return self._lost(actor, f"the actor that worked on it died: {_short(error)}")
        sys.stderr.write(redact(said))
        task = actor.pop()
        value, why, seconds = came(answer)
        return End(task.ticket, value, why, seconds=seconds)

    def _lost(self, actor: Actor, why: str) -> End[Any]:
        """Put another actor in the place of one; what that one had yet to begin is begun elsewhere."""
        lost, *unharmed = (task for task, _ in actor.begun)
        self._waiting.extendleft(reversed(unharmed))
        self._dismiss(actor)
        self._actors.append(self._started())
        self._nobody_since = time.monotonic()
        return End(lost.ticket, None, lost=why)

    def _greet(self, actor: Actor) -> None:
        """Take on an actor that has started, or start another one where it died over that."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            version = ray.get(actor.starting, timeout=_FETCH)
        except RayTaskError as error:
            raise ConfigError(
                f"a node of the Ray cluster cannot do the work: {reason(error.cause)}; {_INSTALL}"
            ) from None
        except RayError as error:
            self._dismiss(actor)
            self._failed += 1
            if self._failed <= self.room:
                self._actors.append(self._started())
            elif not self._actors:
                raise self._deserted(f"starts no worker: {_short(error)}", _INSTALL) from None
            return
        if version != __version__:
            raise ConfigError(
                f"a node of the Ray cluster has kronosfw {version}, not {__version__} as here; {_INSTALL}"
            )
        actor.starting = None
        self._failed, self._had = 0, True

    def _started(self) -> Actor:
        handle = self._start()
        return Actor(handle, handle.receive.remote(*self._receive))

    def _dismiss(self, actor: Actor) -> None:
        import ray

        ray.kill(actor.handle)
        self._actors.remove(actor)

    def _deserted(self, what: str, remedy: str = "look at `ray status`") -> KronosfwError:
        if self._had:
            return Interrupted(f"the Ray cluster {what}; run again to finish")
        return ConfigError(f"the Ray cluster {what}; {remedy}")

    def _hand_out(self) -> None:
        """Hand what waits to the actors that have least to do."""
        there = [actor for actor in self._actors if actor.starting is None]
        while self._waiting and there:
            actor = min(there, key=lambda actor: len(actor.begun))
            if len(actor.begun) == _AHEAD:
                return
            actor.begin(self._waiting.popleft())


def _actor_class(resources: Mapping[str, float]) -> Any:
    import ray

    remote: Any = ray.remote
    ray.method(concurrency_group="pulse")(Worker.pulse)
    return remote(concurrency_groups={"pulse": 1}, max_restarts=0, max_task_retries=0)(Worker).options(
        **resources, scheduling_strategy="SPREAD"
    )


def _short(error: Exception) -> str:
    """Return in a sentence why something died; Ray has much to say about it, which is logged."""
    logging.getLogger(__name__).info("%s", error)
    told = re.findall(r"(?<=because ).*?(?=\.(?:\s|$))|^\w*Error: .*", str(error), re.MULTILINE)
    return redact(told[-1] if told else type(error).__name__)
