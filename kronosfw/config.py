"""The configuration file as a model, and its errors as sentences.

``Config`` is what the rest of the host reads. The model that validates a file is made from it for the plugins
installed (``model_for``), with each component field narrowed to the union of the types they register.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializeAsAny,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from .errors import ConfigError
from .interfaces import (
    CheckpointPolicyConfig,
    Component,
    EncoderConfig,
    EnsemblerConfig,
    FeedConfig,
    ForecasterConfig,
    TrainerConfig,
)
from .options import AsOf, DatabaseUrl, Freq, LocalPath
from .yamlfile import Document, Loc

Policy = Literal["refuse", "repair", "accept"]
Repairable = Literal["refuse", "repair"]
Acceptable = Literal["refuse", "accept"]
CALENDARS = {"crypto": "24/7", "forex": "24/5", "commodity": "24/5", "equity": "XNYS"}


class Section(BaseModel):
    """Base of the file's own sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Instrument(Section):
    """One symbol of the universe."""

    asset_class: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,31}$", description="Such as crypto, forex, commodity or equity."
    )
    calendar: str | None = Field(
        None,
        description="Trading calendar: 24/7, 24/5 or a name of exchange_calendars such as XNYS. "
        "Unless given: crypto 24/7, forex and commodity 24/5, equity XNYS.",
    )
    forecast: bool = Field(True, description="False for a symbol that is only read, as a leader.")

    @model_validator(mode="after")
    def _has_calendar(self) -> Self:
        if self.calendar is None and self.asset_class not in CALENDARS:
            raise ValueError(f"give `calendar`: the asset class {self.asset_class} has none by default")
        return self

    @property
    def market(self) -> str:
        """Name of the trading calendar."""
        return self.calendar or CALENDARS[self.asset_class]


class Checks(Section):
    """What happens when a symbol's data has a fault: refuse the symbol, repair it and say so, or accept it."""

    unsorted: Repairable = Field("repair", description="Rows out of order. Repair sorts them.")
    duplicates: Repairable = Field("repair", description="Several rows for one bar. Repair keeps the last.")
    mixed_zones: Repairable = Field("repair", description="Several UTC offsets. Repair turns all into UTC.")
    off_calendar: Repairable = Field(
        "repair", description="Bars while the market is shut, which have no session. Repair drops them."
    )
    after_cutoff: Repairable = Field(
        "repair", description="Bars that are not complete by the cutoff. Repair drops them."
    )
    nonfinite: Policy = Field("repair", description="NaN or infinite prices. Repair drops the bar.")
    nonpositive: Policy = Field("refuse", description="Prices of zero or less. Repair drops the bar.")
    impossible: Policy = Field(
        "repair",
        description="High below low, or open or close outside them. Repair widens high and low.",
    )
    bad_volume: Policy = Field("repair", description="Negative or non-finite volume or amount. Repair puts 0.")
    gaps: Acceptable = Field("accept", description="Bars that the calendar expects and the feed lacks.")
    stale: Acceptable = Field("refuse", description="More than `max_stale` bars missing just before the cutoff.")
    short_history: Acceptable = Field("refuse", description="Fewer bars than `min_history`.")
    min_history: int = Field(60, ge=1, description="Fewest bars a symbol needs.")
    max_stale: int = Field(3, ge=0, description="Most bars that may be missing just before the cutoff.")
    max_repaired: float = Field(
        0.05, ge=0, le=1, description="Share of rows dropped or changed above which the symbol is refused."
    )


class PluginsSection(Section):
    """Which installed plugins to leave out."""

    disable: tuple[str, ...] = Field((), description="Names as `kronosfw plugins` lists them.")


class Config(Section):
    """A kronosfw configuration file."""

    feed: SerializeAsAny[FeedConfig] = Field(description="Where bars come from, and facts unless `facts` is given.")
    facts: SerializeAsAny[FeedConfig] | None = Field(None, description="A second feed, for facts alone.")
    universe: dict[str, Instrument] = Field(min_length=1, description="The symbols to forecast.")
    freq: Freq = Field("1d", description="Bar length: 1d, or minutes or hours that divide a day (5min, 1h).")
    horizon: int = Field(5, ge=1, le=10_000, description="Number of bars to forecast.")
    context: int = Field(400, ge=2, le=1_000_000, description="Bars of history that a model sees.")
    quantiles: tuple[float, ...] = Field(
        (0.1, 0.5, 0.9), description="Quantile levels; 0.1, 0.5 and 0.9 must be among them."
    )
    as_of: AsOf = Field(
        "latest",
        description="The cutoff: the latest moment a bar became complete (`latest`), the present (`now`) "
        "or a moment in UTC.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="All randomness derives from it.")
    encoders: tuple[SerializeAsAny[EncoderConfig], ...] = Field((), description="Event encoders, side by side.")
    forecasters: tuple[SerializeAsAny[ForecasterConfig], ...] = Field(min_length=1, description="The members.")
    ensembler: SerializeAsAny[EnsemblerConfig] | None = Field(None, description="How members are combined.")
    trainer: SerializeAsAny[TrainerConfig] | None = Field(None, description="What training uses.")
    checkpoints: SerializeAsAny[CheckpointPolicyConfig] | None = Field(
        None, description="Which trained weights serve; base weights unless given."
    )
    checkpoint_root: LocalPath | None = Field(None, description="Folder of the checkpoints.")
    store: DatabaseUrl = Field(description="Where results go: a SQLAlchemy URL.")
    spool: LocalPath = Field(
        Path("spool"),
        validate_default=True,
        description="Folder where results wait for `kronosfw store replay` when the store is down.",
    )
    checks: Checks = Field(default_factory=Checks, description="Policies of the data checks.")
    min_symbols: float = Field(
        0.5, ge=0, le=1, description="Share of symbols that must succeed for anything to be stored."
    )
    batch: int = Field(256, ge=1, description="Most windows handed to a forecaster at once.")
    plugins: PluginsSection = Field(default_factory=PluginsSection, description="Plugins to leave out.")

    @field_validator("universe", mode="after")
    @classmethod
    def _symbols(cls, universe: dict[str, Instrument]) -> dict[str, Instrument]:
        for symbol in universe:
            if not (symbol.strip() and symbol.isprintable() and len(symbol) <= 64):
                raise ValueError("a symbol must be 1 to 64 printable characters")
        return universe

    @field_validator("quantiles", mode="after")
    @classmethod
    def _levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < level < 1 for level in levels):
            raise ValueError("quantile levels must lie strictly between 0 and 1")
        if not {0.1, 0.5, 0.9} <= set(levels):
            raise ValueError("quantile levels must include 0.1, 0.5 and 0.9")
        return tuple(sorted(set(levels)))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = self.model_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two models are called {', '.join(twice)}; give one of them a `name`")
        if self.checkpoints and self.checkpoint_root is None:
            raise ValueError("give `checkpoint_root`, the folder where the checkpoints are")
        return self

    @property
    def model_names(self) -> list[str]:
        """The names of the members and of the ensemble, as tables and reports show them."""
        ensemble = [self.ensembler.name] if self.ensembler else []
        return [f.name or f.type for f in self.forecasters] + ensemble

    @property
    def forecast_symbols(self) -> tuple[str, ...]:
        """The symbols to forecast, in the file's order."""
        return tuple(s for s, instrument in self.universe.items() if instrument.forecast)


Explain = Callable[[str, str], str | None]
"""(kind, type name) → why a type that is not registered, or not by one plugin alone, cannot be used."""


def model_for(components: Mapping[str, Mapping[str, type[Component]]], explain: Explain) -> type[Config]:
    """Return the model of the file for these components (kind → type name → options class)."""

    def one_of(kind: str) -> Any:
        classes = components.get(kind, {})
        choose = BeforeValidator(partial(_check_type, kind, tuple(sorted(classes)), explain))
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
        "trainer": one_of("trainer") | None,
        "checkpoints": one_of("checkpoint_policy") | None,
    }
    fields: Any = {name: (annotation, Config.model_fields[name]) for name, annotation in narrowed.items()}
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, **fields)


def _tuple_of(item: Any) -> Any:
    return tuple.__class_getitem__((item, ...))


def _check_type(kind: str, names: Sequence[str], explain: Explain, value: Any) -> Any:
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
        text = reason or f"there is no {what} '{name}'{_meant(name, names) or _known(what, names)}"
        raise PydanticCustomError("component", "{text}", {"text": text})
    return value


def _known(what: str, names: Sequence[str]) -> str:
    return f"; installed are: {', '.join(names)}" if names else f"; no {what} is available, see `kronosfw plugins`"


def _meant(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


_MESSAGES = {
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "bool_parsing": "expected true or false",
    "string_type": "expected text",
    "none_required": "expected nothing here",
    "too_short": "give at least one",
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
        known = _meant(str(loc[-1]), siblings) or f"; known here: {', '.join(siblings)}"
        text = f"there is no such option{known}"
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
