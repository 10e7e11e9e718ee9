"""Reading YAML so that a mistake is found and shown where it stands.

Every scalar stays a string (PyYAML's default loader turns ``NO``, ``ON`` or ``1:30`` into other things) and the
models give it its type. Duplicate keys, recursive or multiplying aliases, depth and size beyond a bound are
refused. ``${VAR}`` and ``${VAR:-default}`` are replaced inside scalars after parsing; ``$${`` stands for ``${``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 100_000

Loc = tuple[str | int, ...]
_VARIABLE = re.compile(r"\$(?:\$\{|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})")
_NONE = {"", "~", "null"}
_UNPRINTABLE = yaml.reader.Reader.NON_PRINTABLE
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True)
class Document:
    """A parsed file: its data, and where each value and key of it stands."""

    name: str
    data: dict[str, Any]
    marks: dict[Loc, tuple[int, int]]
    """Line and column, from 1, of each value (of its key where it has one)."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """Values that came from the environment, by variable."""

    def where(self, loc: Loc) -> str:
        """Return ``file:line:column`` of the value at the path, or of the nearest parent that stands there."""
        while loc and loc not in self.marks:
            loc = loc[:-1]
        line, column = self.marks.get(loc, (1, 1))
        return f"{self.name}:{line}:{column}"

    def redact(self, text: str) -> str:
        """Put the names of environment variables back in place of their values."""
        for name, value in self.secrets.items():
            if len(value) > 2:
                text = text.replace(value, "${" + name + "}")
        return text


def read(path: Path) -> Document:
    """Read a YAML file; raises ConfigError with file, line and column for anything that is not a mapping."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES:,} bytes; is this the right file?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text") from None
    return parse(text, str(path))


def parse(text: str, name: str = "<config>") -> Document:
    """Parse YAML text; see ``read``."""
    try:
        _bound(text, name)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
        hint = "; put quotes around a value with ${…} inside braces" if "${" in line else ""
        raise ConfigError(f"{place}: not valid YAML: {error.problem or error.context}{hint}") from None
    except yaml.YAMLError as error:
        odd = _UNPRINTABLE.search(text)
        before = text[: odd.start()].split("\n") if odd else [""]
        place = f"{name}:{len(before)}:{len(before[-1]) + 1}"
        raise ConfigError(f"{place}: not valid YAML: {str(error).splitlines()[0]}") from None
    if node is None:
        raise ConfigError(f"{name}: the file is empty; `kronosfw init` writes one to start from")
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{_place(name, node)}: expected `key: value` lines at the top of the file")
    return _Reader(name).document(node)


def _bound(text: str, name: str) -> None:
    """Refuse depth and size before anything recursive looks at the text."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_NODES:
            raise ConfigError(f"{_place(name, event)}: nested too deeply or too large")


def _place(name: str, node: Any) -> str:
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


class _Reader:
    """Turns nodes into data while noting where each value stands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes = 0
        self.marks: dict[Loc, tuple[int, int]] = {}
        self.secrets: dict[str, str] = {}

    def document(self, node: yaml.MappingNode) -> Document:
        return Document(self.name, self.value(node, ()), self.marks, self.secrets)

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(loc) > MAX_DEPTH:
            raise ConfigError(f"{_place(self.name, node)}: aliases multiply or refer to themselves")
        self.marks.setdefault(loc, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, yaml.MappingNode):
            return {key: self.value(child, (*loc, key)) for key, child in self.items(node, loc)}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*loc, i)) for i, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and not (not node.style and node.value in _NONE):
            return self.scalar(node)
        return None

    def items(self, node: yaml.MappingNode, loc: Loc) -> Iterator[tuple[str, yaml.Node]]:
        seen: set[str] = set()
        for key, child in node.value:
            place = _place(self.name, key)
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{place}: a key must be plain text")
            if key.value in seen:
                raise ConfigError(f"{place}: the key '{key.value}' appears twice")
            seen.add(key.value)
            self.marks[(*loc, key.value)] = (key.start_mark.line + 1, key.start_mark.column + 1)
            yield key.value, child

    def scalar(self, node: yaml.ScalarNode) -> str:
        def replace(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            if name is None:
                return "${"
            value = os.environ.get(name)
            if value:
                self.secrets[name] = value
                return value
            if default is not None:
                return str(default)
            raise ConfigError(
                f"{_place(self.name, node)}: the environment variable {name} is not set; "
                f"set it, or give a default as ${{{name}:-value}}"
            )

        return _VARIABLE.sub(replace, node.value)
