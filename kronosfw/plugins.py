"""Finding plugins, loading them under guard, and knowing what each registers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

import pluggy

from . import hookspec
from .errors import PluginError
from .interfaces import KINDS, Component, Weights, type_name
from .isolation import reason

API = "kronosfw.v1"
HOOKS = {
    "feed": "register_feeds",
    "encoder": "register_encoders",
    "forecaster": "register_forecasters",
    "trainer": "register_trainers",
    "ensembler": "register_ensemblers",
    "checkpoint_policy": "register_checkpoint_policies",
    "notifier": "register_notifiers",
}
log = logging.getLogger(__name__)


@dataclass
class Plugin:
    """An installed plugin: what it registers, or why it cannot be used."""

    name: str
    distribution: str = ""
    version: str = ""
    components: dict[str, tuple[type[Component], ...]] = field(default_factory=dict)
    problem: str = ""
    """Empty for a plugin that works."""
    disabled: bool = False

    @property
    def title(self) -> str:
        """What the user installed: the distribution, or the plugin's own name where there is none."""
        return self.distribution or self.name

    @property
    def names(self) -> set[str]:
        """What ``plugins.disable`` may call it."""
        return {self.name, self.title, self.key}

    @property
    def key(self) -> str:
        """A name that no other plugin has."""
        return f"{self.distribution}:{self.name}" if self.distribution else self.name


class Plugins:
    """The plugins of this environment. Order of installation plays no part: they are sorted by name."""

    def __init__(self, checked: bool = True) -> None:
        """Without ``checked`` options are not looked at: enough to let plugins add commands, and quicker."""
        self._checked = checked
        self.all: list[Plugin] = []
        self._pluggy = pluggy.PluginManager("kronosfw")
        self._pluggy.add_hookspecs(hookspec)
        self._warned: set[tuple[str, str]] = set()

    @classmethod
    def installed(cls, disable: Sequence[str] = (), *, checked: bool = True) -> Plugins:
        """Load every entry point of the group ``kronosfw.v1``, each under guard."""
        plugins = cls(checked)
        for entry in sorted(_entry_points(), key=lambda e: (e.name, e.value)):
            plugin = Plugin(entry.name)
            if entry.dist is not None:
                plugin.distribution, plugin.version = entry.dist.name, entry.dist.version
            plugins.all.append(plugin)
            if plugin.names & set(disable):
                plugin.disabled = True
            elif entry.group != API:
                plugin.problem = f"made for {entry.group}, this is {API}: install the release that matches"
            else:
                plugins._guard(plugin, lambda plugin=plugin, entry=entry: plugins._admit(plugin, entry.load()))
        unknown = sorted(set(disable).difference(*(p.names for p in plugins.all)))
        if unknown:
            raise PluginError(f"plugins.disable names {', '.join(unknown)}, which is not installed")
        return plugins

    def add(self, name: str, module: Any) -> Plugin:
        """Add a plugin that is not installed, such as a test's own; returns it, with its problem if any."""
        plugin = Plugin(name)
        self.all.append(plugin)
        self._guard(plugin, lambda: self._admit(plugin, module))
        return plugin

    def _admit(self, plugin: Plugin, module: Any) -> None:
        self._pluggy.register(module, name=plugin.key)
        try:
            self._pluggy.check_pending()
            for kind, hook in HOOKS.items():
                classes = tuple(cls for result in self._call(plugin.key, hook) for cls in result)
                for cls in classes:
                    if not (isinstance(cls, type) and issubclass(cls, KINDS[kind])):
                        raise TypeError(f"{hook} returned {cls!r}, which is not a {KINDS[kind].__name__}")
                    if self._checked:
                        _check_options(cls)
                if classes:
                    plugin.components[kind] = classes
        except BaseException:
            self._pluggy.unregister(module)
            raise

    def _guard(self, plugin: Plugin, load: Any) -> None:
        """Load a plugin so that nothing it does, leaving included, harms the others."""
        try:
            load()
        except (Exception, SystemExit) as error:
            plugin.components = {}
            plugin.problem = f"failed to load: {type(error).__name__}: {' '.join(str(error).split())}"
            log.debug("plugin %s failed to load", plugin.name, exc_info=True)

    def _call(self, name: str, hook: str, **arguments: Any) -> list[Any]:
        """Call one hook of one plugin, and no other's."""
        others = [p for n, p in self._pluggy.list_name_plugin() if n != name and p is not None]
        result: list[Any] = self._pluggy.subset_hook_caller(hook, others)(**arguments)
        return result

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call an observer hook of every plugin; what one raises is logged and harms nobody."""
        for name, module in self._pluggy.list_name_plugin():
            if not hasattr(module, hook):
                continue
            try:
                self._call(name, hook, **arguments)
            except (Exception, SystemExit) as error:
                once = (name, hook) not in self._warned
                self._warned.add((name, hook))
                level = logging.WARNING if once else logging.DEBUG
                log.log(level, "plugin %s failed in %s: %s", name, hook, reason(error))
                log.debug("the same in full", exc_info=True)

    @property
    def components(self) -> dict[str, dict[str, type[Component]]]:
        """Kind → type name → options class, without the names that more than one plugin registers."""
        return {
            kind: {name: found[0][1] for name, found in owners.items() if len(found) == 1}
            for kind, owners in self._owners().items()
        }

    def _owners(self) -> Mapping[str, dict[str, list[tuple[Plugin, type[Component]]]]]:
        owners: dict[str, dict[str, list[tuple[Plugin, type[Component]]]]] = {kind: {} for kind in HOOKS}
        for plugin in self.all:
            for kind, classes in plugin.components.items():
                for cls in classes:
                    owners[kind].setdefault(type_name(cls), []).append((plugin, cls))
        return {kind: dict(sorted(names.items())) for kind, names in owners.items()}

    def conflicts(self) -> Iterator[tuple[str, str, list[Plugin]]]:
        """Yield (kind, type name, plugins) for each name that more than one registers."""
        for kind, names in self._owners().items():
            for name, found in names.items():
                if len(found) > 1:
                    yield kind, name, [plugin for plugin, _ in found]

    def explain(self, kind: str, name: str) -> str | None:
        """Say why a type cannot be used although something installed claims it; None if nothing does."""
        for conflict, type_, owners in self.conflicts():
            if (conflict, type_) == (kind, name):
                titles = " and ".join(p.title for p in owners)
                return (
                    f"'{name}' is registered by both {titles}; "
                    f"keep one and put the other into `plugins: {{disable: [{owners[-1].title}]}}`"
                )
        for plugin in self.all:
            if name == plugin.name or plugin.title.replace("-", "_") in (name, f"kronosfw_{name}"):
                if plugin.disabled:
                    return f"{plugin.title} is disabled by `plugins.disable`"
                if plugin.problem:
                    return f"{plugin.title} is installed but {plugin.problem}"
        return None

    @property
    def broken(self) -> tuple[str, ...]:
        """What is installed but cannot be used."""
        return tuple(p.title for p in self.all if p.problem)

    def release(self, cls: type[Component]) -> str:
        """Return the version of the plugin that registers a class; empty for one that is not installed."""
        owners = (p for p in self.all for classes in p.components.values() if cls in classes)
        return next((p.version for p in owners), "")

    def versions(self) -> dict[str, str]:
        """Return distribution → version of the plugins in use."""
        return {p.title: p.version for p in self.all if not (p.problem or p.disabled)}


def _check_options(cls: type[Component]) -> None:
    """Refuse options that would fail only when a configuration is read; raises TypeError or pydantic's error."""
    name = type_name(cls)
    if get_args(cls.model_fields["type"].annotation) != (name,) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise TypeError(f'{cls.__name__} needs `type: Literal["name"] = "name"` in lower case')
    cls.model_rebuild()
    cls.model_json_schema()
    weights = getattr(cls, "weights", None)
    if not isinstance(weights, Weights | None):
        raise TypeError(f"{cls.__name__}.weights is a {type(weights).__name__}, not Weights")


def _entry_points() -> list[EntryPoint]:
    """Return the entry points of every version of the API, so that a plugin of another one is not overlooked."""
    return [
        entry
        for group in entry_points().groups
        if re.fullmatch(r"kronosfw\.v\d+", group)
        for entry in entry_points(group=group)
    ]
