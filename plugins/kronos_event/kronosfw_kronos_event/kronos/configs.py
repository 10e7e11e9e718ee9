"""From the values of a ``config.json`` to a config, or to the names of the keys that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

Config = TypeVar("Config")

LARGEST = {
    "s1_bits": 20,
    "s2_bits": 20,
    "group_size": 40,
    "n_layers": 256,
    "n_enc_layers": 256,
    "n_dec_layers": 256,
}
LARGEST_OTHER = 16384
"""Numbers above these are taken for a mistake, before any memory is asked for."""
FOREIGN = {"_name_or_path", "architectures", "dtype", "model_type", "torch_dtype", "transformers_version"}
"""Keys that other libraries leave behind; they change nothing."""


def parse(values: Mapping[str, Any], config_class: type[Config]) -> Config:
    """Return the config of a dataclass whose fields are int, float or bool; raises ValueError."""
    known = {field.name: field for field in fields(config_class)}  # type: ignore[arg-type]
    types = get_type_hints(config_class)
    problems = []
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in values]:
        problems.append(f"lacks {', '.join(missing)}")
    if unknown := sorted(set(values) - set(known) - FOREIGN):
        problems.append(f"has unknown keys: {', '.join(unknown)}")
    given = {name: values[name] for name in known if name in values}
    for name, value in given.items():
        if wanted := _mistake(name, value, types[name]):
            problems += [f"{name} must be {wanted}, not {value!r:.40}"]
    if problems:
        raise ValueError("; ".join(problems))
    return config_class(**{name: types[name](value) for name, value in given.items()})


def _mistake(name: str, value: object, kind: type) -> str | None:
    """Return what the value of a key should be, if it is not."""
    if kind is bool:
        return None if isinstance(value, bool) else "true or false"
    if kind is int:
        largest = LARGEST.get(name, LARGEST_OTHER)
        fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= largest
        return None if fits else f"a whole number from 1 to {largest}"
    largest = 1 if name.endswith("_p") else LARGEST_OTHER
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= largest
    return None if fits else f"a number from 0 to {largest}"
