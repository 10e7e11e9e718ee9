"""Mistakes in a configuration file as sentences: where, what, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from .config import Config
from .errors import ConfigError, did_you_mean
from .yamlfile import Document, Loc

_MESSAGES = {
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "bool_parsing": "expected true or false",
    "string_type": "expected text",
    "none_required": "expected nothing here",
    "too_short": "give at least one",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "tuple_type": "expected a list, such as [a, b]",
    "dict_type": "expected a mapping, such as {key: value}",
    "model_type": "expected a mapping, such as {key: value}",
    "model_attributes_type": "expected a mapping, such as {key: value}",
}


def validate(model: type[Config], document: Document) -> Config:
    """Validate a parsed file; raises ConfigError with one line for each mistake, at its place."""
    folder = Path(document.name).parent
    try:
        return model.model_validate(document.data, context={"folder": folder})
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        lines = [_sentence(model, document, e) for e in found if not _follows(e, found)]
    raise ConfigError(document.redact("\n".join(dict.fromkeys(lines))))


def _follows(error: Any, found: Iterable[Any]) -> bool:
    """Tell whether a list is too short only because its items are wrong."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(e["loc"][: len(loc)] == loc and e is not error for e in found)


def _sentence(model: type[Config], document: Document, error: Any) -> str:
    """Return ``file:line:column: path: what was expected`` for one pydantic error."""
    loc = _path_in_file(document.data, error["loc"])
    path = "".join(f"{part}." for part in loc)[:-1]
    if error["type"] == "extra_forbidden":
        siblings = _fields(model, document.data, loc[:-1])
        known = did_you_mean(str(loc[-1]), siblings) or f"; known here: {', '.join(siblings)}"
        text = f"there is no such option{known}"
    elif error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        tag, known = error["ctx"].get("tag"), error["ctx"].get("expected_tags")
        text = f"there is no type {tag}; there are {known}" if tag else "give its `type`"
    elif error["type"] == "missing":
        text = f"missing; add `{loc[-1]}:`"
    else:
        message = _MESSAGES.get(error["type"]) or error["msg"].removeprefix("Value error, ")
        text = message[:1].lower() + message[1:]
    return f"{document.where(loc)}: {path}{': ' * bool(path)}{text}"


def _path_in_file(data: Any, loc: Loc) -> Loc:
    """Drop from pydantic's path what is not in the file: the tags of unions."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        in_list = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if in_list or (isinstance(data, Mapping) and part in data):
            data = data[part]
        elif i < len(loc) - 1 or not isinstance(data, Mapping) or data.get("type") == part:
            continue
        path.append(part)
    return tuple(path)


def _fields(model: type[BaseModel], data: Any, loc: Loc) -> list[str]:
    """Return the options known at a path of the file."""
    schema = model.model_json_schema()
    here: Any = schema
    for part in loc:
        data = data[part]
        here = (
            here.get("items")
            if isinstance(part, int)
            else here.get("properties", {}).get(part, here.get("additionalProperties"))
        )
        here = _resolve(schema, here or {}, data)
    return list(here.get("properties", {}))


def _resolve(schema: Any, here: Any, data: Any) -> Any:
    """Follow references, optional values and the type of a component to the schema of this value."""
    if "$ref" in here:
        here = schema["$defs"][here["$ref"].rsplit("/", 1)[1]]
    for option in here.get("anyOf", here.get("oneOf", ())):
        found = _resolve(schema, option, data)
        const = found.get("properties", {}).get("type", {}).get("const")
        if found.get("properties") and (const is None or const == data.get("type")):
            return found
    return here
