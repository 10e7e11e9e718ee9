"""Writes the configuration reference from the models: ``python docs/config_reference.py > docs/config.md``."""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from kronosfw_chronos2 import plugin as chronos2
from kronosfw_feeds_supabase import plugin as feeds_supabase
from kronosfw_kronos_event import plugin as kronos_event
from kronosfw_meta_lgbm import plugin as meta_lgbm
from kronosfw_timesfm import plugin as timesfm
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from kronosfw import builtin
from kronosfw.config import (
    Backtest,
    Calibration,
    Checks,
    Config,
    Drift,
    HereOptions,
    Instrument,
    Metrics,
    PluginsSection,
    ProcessesOptions,
    RayOptions,
    Retraining,
    Section,
    Training,
)
from kronosfw.interfaces import KINDS, Component, type_name
from kronosfw.options import DatabaseUrl
from kronosfw.plugins import Plugins

INTRODUCTION = """\
# Configuration reference

<!-- Written by `python docs/config_reference.py > docs/config.md`; do not edit. -->

One YAML file says everything about a run. `kronosfw init` writes a commented one, `kronosfw check FILE` validates
one, and `kronosfw schema` prints the JSON Schema for the plugins installed, for completion in an editor.

- Every value is read as text and gets its type from the option: the symbols `ON`, `NO` and `1:30` stay what they
  are. An empty value, `~` and `null` mean none.
- `${VARIABLE}` stands for the environment variable and `${VARIABLE:-default}` for the default where it is not set
  or empty. `$${` is a plain `${`.
- A relative path, of a SQLite file too, starts at the folder of the configuration file.
- A duration is a number of days such as `365d` or a time such as `12:00`.
- A key that appears twice and an option that does not exist are errors.

A component is chosen by its `type`; the rest of its mapping are the options of that type. Plugins add types:
`kronosfw plugins` lists what is installed.
"""
PLAIN = {
    str: "text",
    bool: "true or false",
    int: "integer",
    float: "number",
    Path: "path",
    SecretStr: "secret text",
    date: "date",
    datetime: "moment (UTC unless it says otherwise)",
    timedelta: "duration",
}
BOUNDS = {
    Ge: ("ge", "at least"),
    Gt: ("gt", "above"),
    Le: ("le", "at most"),
    Lt: ("lt", "below"),
}
DATABASE_URL = typing.get_args(DatabaseUrl)[1]
SECTIONS: tuple[tuple[str, type[Section]], ...] = (
    ("universe: each symbol", Instrument),
    ("checks", Checks),
    ("calibration", Calibration),
    ("backtest", Backtest),
    ("training", Training),
    ("retraining", Retraining),
    ("drift", Drift),
    ("executor: in_process", HereOptions),
    ("executor: processes", ProcessesOptions),
    ("executor: ray", RayOptions),
    ("metrics", Metrics),
    ("plugins", PluginsSection),
)
COMPONENTS = {
    "feed": "Feeds",
    "encoder": "Encoders",
    "forecaster": "Forecasters",
    "trainer": "Trainers",
    "ensembler": "Ensemblers",
    "checkpoint_policy": "Checkpoint policies",
    "notifier": "Notifiers",
}


def reference() -> str:
    """Return the whole page: what is built in, and what the plugins of this repository add."""
    plugins = Plugins()
    plugins.add("builtin", builtin)
    plugins.add("kronos_event", kronos_event)
    plugins.add("chronos2", chronos2)
    plugins.add("timesfm", timesfm)
    plugins.add("meta_lgbm", meta_lgbm)
    plugins.add("feeds_supabase", feeds_supabase)
    return "\n".join([INTRODUCTION, *_page(plugins)])


def _page(plugins: Plugins) -> Iterator[str]:
    yield from ("## The file", "", *_table(Config))
    for title, section in SECTIONS:
        options = _table(section) if section.model_fields.keys() - {"type"} else ("It has no options.", "")
        yield from (f"## {title}", "", inspect.getdoc(section) or "", "", *options)
    for kind, title in COMPONENTS.items():
        yield from (f"## {title}", "")
        classes = plugins.components[kind].values()
        if not classes:
            yield from ("None comes with kronosfw; a plugin brings them.", "")
        for cls in classes:
            yield from (f"### `{type_name(cls)}`", "", _about(cls), "", *_table(cls))
        fields = [field for cls in classes for field in cls.model_fields.values()]
        for nested in dict.fromkeys(model for field in fields for model in _nested(field.annotation)):
            yield from (f"### {nested.__name__}", "", inspect.getdoc(nested) or "", "", *_table(nested))


def _about(cls: type[Component]) -> str:
    package = cls.__module__.partition(".")[0]
    origin = "" if package == "kronosfw" else f"\n\nComes with the plugin `{package.replace('_', '-')}`."
    return (inspect.getdoc(cls) or "") + origin


def _table(model: type[BaseModel]) -> Iterator[str]:
    yield from ("| option | value | default | meaning |", "|---|---|---|---|")
    for name, field in model.model_fields.items():
        if name == "type":
            continue
        cells = f"`{field.alias or name}`", _value(field), _default(field), field.description or ""
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _value(field: FieldInfo) -> str:
    if DATABASE_URL in field.metadata:
        return "database URL"
    bounds = _bounds(field.metadata)
    return f"{_words(field.annotation)}{', ' if bounds else ''}{bounds}"


def _words(annotation: Any) -> str:
    """Return a type in readable words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _value(FieldInfo.from_annotation(annotation))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(a) for a in arguments if a is not type(None))
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin is tuple:
        return f"list of: {_words(arguments[0])}"
    if origin is dict:
        return f"mapping of {_words(arguments[0])} to {_words(arguments[1])}"
    if annotation in PLAIN:
        return PLAIN[annotation]
    for kind, base in KINDS.items():
        if annotation is base:
            title = COMPONENTS[kind]
            return f"[{kind.replace('_', ' ')}](#{title.lower().replace(' ', '-')})"
    chosen = annotation.model_fields.get("type")
    return f"[{chosen.default if chosen else annotation.__name__}](#{_anchor(annotation)})"


def _anchor(model: type[BaseModel]) -> str:
    own = (title for title, section in SECTIONS if section is model)
    return next(own, model.__name__).lower().replace(":", "").replace(" ", "-")


def _bounds(metadata: list[Any]) -> str:
    words = []
    for item in metadata:
        for bound, (attribute, word) in BOUNDS.items():
            if isinstance(item, bound):
                words.append(f"{word} {_number(getattr(item, attribute))}")
    return " and ".join(words)


def _number(value: Any) -> str:
    if value == 2**63:
        return "2⁶³"
    if isinstance(value, timedelta):
        return f"{value.days}d"
    return str(value) if isinstance(value, date) else f"{value:,}".removesuffix(".0")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value in (None, PydanticUndefined) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta):
        return f"`{value.days}d`" if value == timedelta(value.days) else f"`{value}`"
    if isinstance(value, str | Path | date):
        return f"`{value}`"
    return f"`{json.dumps(value)}`" if value not in ((), {}) else ""


def _nested(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an option's value is made of, and theirs."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _nested(field.annotation)
    for argument in typing.get_args(annotation):
        yield from _nested(argument)


if __name__ == "__main__":
    sys.stdout.write(reference())
