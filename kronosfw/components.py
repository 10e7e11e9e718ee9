"""The configuration's model for the plugins installed: component fields narrowed to the types there are."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, create_model
from pydantic_core import PydanticCustomError

from .config import Backtest, Config
from .errors import did_you_mean
from .interfaces import Component

Explain = Callable[[str, str], str | None]
"""(kind, type name) → why a type that is not registered, or not by one plugin alone, cannot be used."""


def model_for(
    components: Mapping[str, Mapping[str, type[Component]]], explain: Explain, broken: Sequence[str] = ()
) -> type[Config]:
    """Return the model of the file for these components (kind → type name → options class).

    ``broken`` names what is installed but cannot be used: it may be what a type that is not found belongs to.
    """

    def one_of(kind: str) -> Any:
        classes = components.get(kind, {})
        choose = BeforeValidator(partial(_check_type, kind, tuple(sorted(classes)), explain, broken))
        if not classes:
            return Annotated[Component, choose]
        if len(classes) == 1:
            return Annotated[next(iter(classes.values())), choose]
        union: Any = reduce(operator.or_, classes.values())
        return Annotated[union, Discriminator("type"), choose]

    narrowed = {
        "feed": one_of("feed"),
        "facts": one_of("feed") | None,
        "encoders": _tuple_of(one_of("encoder")),
        "forecasters": _tuple_of(one_of("forecaster")),
        "ensembler": one_of("ensembler") | None,
        "backtest": _narrowed(Backtest, ensemblers=_tuple_of(one_of("ensembler"))) | None,
        "trainer": one_of("trainer") | None,
        "checkpoints": one_of("checkpoint_policy") | None,
        "alerts": _tuple_of(one_of("notifier")),
    }
    config: type[Config] = _narrowed(Config, **narrowed)
    return config


def _narrowed(model: Any, **annotations: Any) -> Any:
    """Return the model with other types for some of its fields."""
    fields: Any = {name: (annotation, model.model_fields[name]) for name, annotation in annotations.items()}
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **fields)


def _tuple_of(item: Any) -> Any:
    return tuple.__class_getitem__((item, ...))


def _check_type(kind: str, names: Sequence[str], explain: Explain, broken: Sequence[str], value: Any) -> Any:
    """Refuse a component without a usable type, before its options are looked at."""
    what = kind.replace("_", " ")
    if isinstance(value, Component):
        return value
    if not isinstance(value, Mapping):
        raise PydanticCustomError("component", "expected `{text}`", {"text": "{type: …}"})
    name = value.get("type")
    if not isinstance(name, str):
        known = f"one of: {', '.join(names)}" if names else f"but no {what} is available, see `kronosfw plugins`"
        raise PydanticCustomError("component", "{text}", {"text": f"give the {what}'s `type`, {known}"})
    if name not in names:
        reason = explain(kind, name)
        hint = f"; {', '.join(broken)} cannot be used, see `kronosfw plugins`" if broken else ""
        text = reason or f"there is no {what} '{name}'{did_you_mean(name, names) or _known(what, names)}{hint}"
        raise PydanticCustomError("component", "{text}", {"text": text})
    return value


def _known(what: str, names: Sequence[str]) -> str:
    return f"; installed are: {', '.join(names)}" if names else f"; no {what} is available, see `kronosfw plugins`"
