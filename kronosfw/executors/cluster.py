"""Work on a Ray cluster, whose nodes may die without harm."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from secrets import token_hex
from textwrap import shorten
from typing import Any, ClassVar

from ..config import RayOptions
from ..errors import ConfigError
from ..isolation import reason
from .actors import Actors
from .crew import MakeWorker
from .head import knock


class Cluster:
    """Does tasks in actors that are spread over the nodes of a Ray cluster."""

    here: ClassVar[bool] = False

    def __init__(self, options: RayOptions) -> None:
        self._options = options

    @cached_property
    def workers(self) -> int:
        """How many actors there are to be; raises ConfigError where the cluster has room for none."""
        if self._options.workers is not None:
            return self._options.workers
        if self._options.address == "local":
            nodes = [{"CPU": os.cpu_count() or 1}]
        else:
            with _connected(self._options):
                nodes = [node["Resources"] for node in _nodes() if node["Alive"]]
        room = sum(_room(node, self._options) for node in nodes)
        if not room:
            raise ConfigError(
                f"no node of the Ray cluster has {self._options.cpus:g} CPUs and {self._options.gpus:g} GPUs: "
                "ask for less with `cpus` and `gpus`, or say how many `workers` there will be"
            )
        return room

    def crew(self, make_worker: MakeWorker) -> Actors:
        each = {"num_cpus": self._options.cpus, "num_gpus": self._options.gpus}
        return Actors(make_worker, self.workers, each, _connected(self._options))


def _nodes() -> Any:
    import ray

    return ray.nodes()  # type: ignore[no-untyped-call]


def _room(node: Mapping[str, float], options: RayOptions) -> int:
    """Return for how many actors a node has room; for one where they need nothing."""
    needs = {"CPU": options.cpus, "GPU": options.gpus}
    return min((int(node.get(kind, 0) / need + 1e-9) for kind, need in needs.items() if need), default=1)


@contextmanager
def _connected(options: RayOptions) -> Iterator[str]:
    """Be connected for as long as the block lasts, unless this process was before; yields host:port of the head.

    Raises ConfigError where there is no cluster, or one that does not take this process in.
    """
    with _environment(options), _as_it_was():
        try:
            import ray
        except ImportError:
            raise ConfigError("Ray is not installed: pip install 'kronosfw[ray]'") from None
        connected_before = ray.is_initialized()
        head = "" if connected_before else _connect(options.address)
    try:
        yield head
    finally:
        if not connected_before:
            ray.shutdown(wait_for_processes=True)


def _connect(address: str) -> str:
    """Connect, and return host:port of the head."""
    import ray
    from ray._private import worker

    # Ray's own prints to stdout, where results go.
    worker.print_to_stdstream = _tell
    try:
        at = _found((os.environ.get("RAY_ADDRESS") if address == "auto" else "") or address)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"no Ray cluster at {address}: {why}; start one with `ray start --head`, give the `address` of one, or "
            "`local` for one on this machine alone"
        ) from None
    try:
        ray.init(at, include_dashboard=False, configure_logging=False, log_to_driver=False)
    except Exception as error:
        ray.shutdown()
        raise ConfigError(
            f"the Ray cluster at {address} does not take this process in: {shorten(reason(error), 300)}; give its "
            "`token` where it has one, the same versions of Python and Ray, and as `address` ray://host:port where "
            "this machine is no node of it"
        ) from None
    return str(ray.get_runtime_context().gcs_address) if at == "local" else at.rpartition("://")[2]


def _found(address: str) -> str:
    """Return where the cluster is, as Ray wants it; raises OSError or ValueError unless somebody listens there."""
    from ray._private.services import canonicalize_bootstrap_address

    if address == "local":
        return address
    try:
        at = address if "://" in address else str(canonicalize_bootstrap_address(address))
    except ConnectionError:
        raise ConnectionError("none was started on this machine") from None
    knock(at.rpartition("://")[2])
    return at


@cache
def _own_token() -> str:
    """Return the token of clusters that this process starts: Ray reads one only, the first one."""
    return token_hex(32)


@contextmanager
def _environment(options: RayOptions) -> Iterator[None]:
    """Set what Ray reads from the environment, as what it starts does; the token is there no longer.

    With a token the cluster is one that asks for it; a cluster of our own has one that nobody else knows.
    """
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if options.address != "local":
        wanted["RAY_NUM_REDIS_GET_RETRIES"] = "2"
    if options.token or options.address == "local":
        token = options.token.get_secret_value() if options.token else _own_token()
        wanted |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    elif "RAY_AUTH_MODE" not in os.environ:
        wanted["RAY_AUTH_MODE"] = "disabled"
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Keep how signals, errors and logs are handled here, which Ray changes."""
    hook, factory, on_term = sys.excepthook, logging.getLogRecordFactory(), signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        sys.excepthook = hook
        logging.setLogRecordFactory(factory)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)
        its = logging.getLogger("ray")
        its.handlers.clear()
        its.propagate = True
        its.setLevel(logging.NOTSET)


def _tell(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """Log what Ray says of its nodes and actors; it tells the same again by what becomes of tasks."""
    logging.getLogger("ray").debug("%s", "\n".join(data["lines"]))
