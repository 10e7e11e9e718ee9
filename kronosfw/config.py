"""The configuration file as a model: what the rest of the host reads."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from .interfaces import (
    CheckpointPolicyConfig,
    EncoderConfig,
    EnsemblerConfig,
    FeedConfig,
    ForecasterConfig,
    NotifierConfig,
    TrainerConfig,
    Weights,
)
from .options import AsOf, DatabaseUrl, Freq, LocalPath

Policy = Literal["refuse", "repair", "accept"]
Repairable = Literal["refuse", "repair"]
Acceptable = Literal["refuse", "accept"]
CALENDARS = {"crypto": "24/7", "forex": "24/5", "commodity": "24/5", "equity": "XNYS"}


def calibrated(model: str) -> str:
    """Return the name of a model's calibrated forecast."""
    return f"{model}_calibrated"


_NOTHING_IS_EMPTY = BeforeValidator(lambda value: {} if value is None else value)
"""A section without content is one with its defaults."""


class Section(BaseModel):
    """Base of the file's own sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Instrument(Section):
    """One symbol of the universe."""

    asset_class: str = Field(description="Such as crypto, forex, commodity or equity.")
    calendar: str | None = Field(
        None,
        description="Trading calendar: 24/7, 24/5 or a name of exchange_calendars such as XNYS. "
        "Unless given: crypto 24/7, forex and commodity 24/5, equity XNYS.",
    )
    forecast: bool = Field(True, description="False for a symbol that is only read, as a leader.")

    @field_validator("asset_class", mode="after")
    @classmethod
    def _name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
            raise ValueError("expected lower-case letters, digits and underscores")
        if name == "base":
            raise ValueError("`base` is what the pooled checkpoints are called; give it another name")
        return name

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
        "repair", description="Times that are no bar of the trading calendar. Repair drops them."
    )
    after_cutoff: Repairable = Field(
        "repair", description="Bars that are not complete by the cutoff. Repair drops them."
    )
    nonfinite: Policy = Field("repair", description="NaN or infinite prices, or no time. Repair drops the bar.")
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


class Training(Section):
    """What a trainer learns from, and when a training stops. Dates are midnight UTC."""

    start: date | None = Field(
        None, description="Date of the first cutoff to learn from; the first bars of the feed unless given."
    )
    validate_from: date = Field(
        description="Examples complete by then train; those whose cutoff is then or later validate."
    )
    until: date | None = Field(
        None, description="Date by which the last target is complete; the file's `as_of` unless given."
    )
    stride: int = Field(5, ge=1, description="Bars from the cutoff of one example to the next.")
    patience: int | None = Field(
        5, ge=1, description="Snapshots in a row without a better validation loss that end it; none never does."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start is not None and self.start >= self.validate_from:
            raise ValueError("`start` must lie before `validate_from`")
        if self.until is not None and self.until <= self.validate_from:
            raise ValueError("`until` must lie after `validate_from`")
        return self


class Retraining(Section):
    """What `kronosfw retrain` learns from and judges by, in days of the calendar before the data end."""

    days: int = Field(730, ge=2, description="Days of data in all.")
    validate_days: int = Field(
        60, ge=1, description="Of these, the days before the judged ones, by which the best snapshot is chosen."
    )
    judge_days: int = Field(
        105, ge=1, description="Of these, the last ones, which no arm has learned from and the guard judges by."
    )
    stride: int = Field(5, ge=1, description="Bars from the cutoff of one example to the next, for training.")
    patience: int | None = Field(
        5, ge=1, description="Snapshots in a row without a better validation loss that end it; none never does."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.validate_days + self.judge_days >= self.days:
            raise ValueError("`days` must leave some to learn from before `validate_days` and `judge_days`")
        return self


class Backtest(Section):
    """What `kronosfw backtest` forecasts. Dates are midnight UTC."""

    start: date = Field(description="The first origin that is compared is not earlier.")
    end: date | None = Field(
        None, description="By then the last target is complete; the file's `as_of` unless given."
    )
    step: int = Field(1, ge=1, description="Bars of each symbol's calendar from one origin to the next.")
    origins: int | None = Field(
        None, ge=1, description="Most origins of each symbol, the first ones; all until `end` unless given."
    )
    warmup: int = Field(
        0,
        ge=0,
        description="Origins of each symbol before `start` that are forecast, too, for ensemblers and calibration "
        "to learn from; they are not compared.",
    )
    embargo: int = Field(
        0, ge=0, description="Bars after `start` before the first origin, where models have learned until `start`."
    )
    purge: int = Field(
        0,
        ge=0,
        description="Bars, on a calendar without a pause, before an origin in which no outcome may lie that an "
        "ensembler or the calibration learns from; 0 for what a run would have known.",
    )
    ensemblers: tuple[SerializeAsAny[EnsemblerConfig], ...] = Field(
        (), description="Further ensemblers, to compare with the file's own; each needs a `name` of its own."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError("`end` must lie after `start`")
        return self


class Calibration(Section):
    """How p10 and p90 are moved so that they cover what they say: conformal prediction, by class, bucket and side.

    The calibrated forecast is stored beside the raw one, as a model whose name ends in `_calibrated`, and is what
    is served. A score says how many widths (p90 − p10) an outcome lay above p90 or below p10. A side is moved by
    the quantile of its last scores: `split` takes the nominal one, `adaptive` one that follows the misses (adaptive
    conformal inference: Gibbs & Candès, Advances in Neural Information Processing Systems 34, 2021). Few scores of
    a class are drawn toward those of all, and few of all toward no move. Scores of one moment count as one.
    """

    method: Literal["adaptive", "split"] = Field("adaptive", description="`adaptive` or `split`.")
    memory: int = Field(
        500, ge=20, description="Last moments at which outcomes became known that count, of each class and bucket."
    )
    trust: int = Field(
        200,
        ge=0,
        description="Moments that it takes for a class to count as much as all classes together, and for these to "
        "count as much as the envelope as it is.",
    )
    rate: float = Field(0.005, ge=0, le=1, description="How fast `adaptive` follows the misses of a moment.")


class Drift(Section):
    """When two members that part company make a retraining due.

    z = (p50ₐ − p50ᵦ) / (√(wₐ² + wᵦ²) / 2.56), w = p90 − p10, at the last step, less its usual value for the symbol
    and over its usual spread.
    """

    threshold: float = Field(3.0, gt=0, description="|z| above which a run counts.")
    runs: int = Field(3, ge=1, description="Runs in a row that count before an alert is raised.")
    history: int = Field(
        60,
        ge=0,
        description="Earlier runs that tell what is usual; with fewer than 20 of them z is taken as it is.",
    )


class HereOptions(Section):
    """Members forecast in the process of the command, one after the other."""

    type: Literal["in_process"] = "in_process"


class ProcessesOptions(Section):
    """Members forecast in processes beside that of the command, which may die or hang without harm."""

    type: Literal["processes"] = "processes"
    workers: int | None = Field(
        None, ge=1, le=256, description="Processes; one for each processor of the machine unless given."
    )


class RayOptions(Section):
    """Members forecast on a Ray cluster, whose nodes may die; needs the extra `ray`."""

    type: Literal["ray"] = "ray"
    address: str = Field(
        "auto",
        min_length=1,
        description="`auto` for the cluster that this machine is a node of, `host:port` of a head, "
        "`ray://host:port`, or `local` for one of its own on this machine.",
    )
    workers: int | None = Field(
        None, ge=1, le=4096, description="Actors; as many as the cluster has room for unless given."
    )
    cpus: float = Field(1, ge=0, description="Processors of each actor, and its threads.")
    gpus: float = Field(0, ge=0, description="GPUs of each actor.")
    token: SecretStr | None = Field(
        None, description="Token of a cluster that asks for one; unless given, what RAY_AUTH_MODE says."
    )


ExecutorOptions = Annotated[HereOptions | ProcessesOptions | RayOptions, Field(discriminator="type")]


class Metrics(Section):
    """A file for the textfile collector of Prometheus' node exporter; needs the extra `metrics`."""

    path: LocalPath = Field(description="The file, such as /var/lib/node_exporter/kronosfw.prom.")
    labels: dict[str, str] = Field(
        default_factory=dict, description="Labels of all its metrics, such as `schedule: daily`."
    )

    @field_validator("path", mode="after")
    @classmethod
    def _is_collected(cls, path: Path) -> Path:
        if path.suffix != ".prom":
            raise ValueError("the name must end in .prom, or the collector does not read it")
        return path

    @field_validator("labels", mode="after")
    @classmethod
    def _names(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
                raise ValueError(f"{name}: a label is of letters, digits and underscores, and begins with a letter")
            if name in ("stage", "model", "run_id", "version"):
                raise ValueError(f"{name}: metrics have a label of that name already; call it something else")
        return labels


class PluginsSection(Section):
    """Which installed plugins to leave out."""

    disable: tuple[str, ...] = Field((), description="Plugins or distributions, as `kronosfw plugins` lists them.")


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
    calibration: Annotated[Calibration, _NOTHING_IS_EMPTY] | None = Field(
        None, description="How the served envelope is calibrated; not at all unless given."
    )
    horizon_buckets: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 5, 20),
        description="Last step of each bucket of the horizon in which scores are told and envelopes calibrated.",
    )
    backtest: Backtest | None = Field(None, description="What `kronosfw backtest` forecasts.")
    drift: Annotated[Drift, _NOTHING_IS_EMPTY] = Field(
        default_factory=Drift, description="When members that part company raise an alert."
    )
    trainer: SerializeAsAny[TrainerConfig] | None = Field(None, description="What training uses.")
    training: Training | None = Field(None, description="What `kronosfw train` learns from.")
    checkpoints: SerializeAsAny[CheckpointPolicyConfig] | None = Field(
        None, description="Which trained weights serve; base weights unless given."
    )
    retraining: Annotated[Retraining, _NOTHING_IS_EMPTY] = Field(
        default_factory=Retraining, description="What `kronosfw retrain` learns from and judges by."
    )
    alerts: tuple[SerializeAsAny[NotifierConfig], ...] = Field(
        (), description="Who is told of what became of a retraining."
    )
    checkpoint_root: LocalPath | None = Field(None, description="Folder of the checkpoints.")
    store: DatabaseUrl = Field(description="Where results go: a SQLAlchemy URL.")
    store_patience: float = Field(
        30.0,
        ge=0,
        description="Seconds for which a store that cannot be reached is tried again before giving up, and for "
        "which a lock on Postgres is waited for (no less than 10).",
    )
    spool: LocalPath = Field(
        Path("spool"),
        validate_default=True,
        description="Folder where results wait for `kronosfw store replay` when the store is down.",
    )
    checks: Annotated[Checks, _NOTHING_IS_EMPTY] = Field(
        default_factory=Checks, description="Policies of the data checks."
    )
    min_symbols: float = Field(
        0.5, ge=0, le=1, description="Share of symbols that must succeed; a run that cannot reach it ends."
    )
    batch: int = Field(
        256, ge=1, description="Most windows handed to a forecaster at once, and symbols stored together."
    )
    executor: ExecutorOptions = Field(
        default_factory=HereOptions, description="Where members forecast: `in_process`, `processes` or `ray`."
    )
    metrics: Metrics | None = Field(None, description="A file of metrics that each run writes.")
    plugins: Annotated[PluginsSection, _NOTHING_IS_EMPTY] = Field(
        default_factory=PluginsSection, description="Plugins to leave out."
    )

    @field_validator("universe", mode="after")
    @classmethod
    def _symbols(cls, universe: dict[str, Instrument]) -> dict[str, Instrument]:
        for symbol in universe:
            if symbol != symbol.strip() or not symbol.isprintable() or not 0 < len(symbol) <= 64:
                raise ValueError(f"{symbol!r}: a symbol is 1 to 64 printable characters without blanks around them")
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
        further = self.backtest.ensemblers if self.backtest else ()
        names = [*self.model_names, *(name for e in further for name in (e.name, calibrated(e.name)))]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two models are called {', '.join(twice)}; give one of them a `name`")
        stages = sorted({"reading", "serving", "storing"}.intersection(names))
        if stages:
            raise ValueError(
                f"{', '.join(stages)} is what a part of a run is called; give the model another `name`"
            )
        if list(self.horizon_buckets) != sorted(set(self.horizon_buckets)):
            raise ValueError("`horizon_buckets` must increase")
        if self.checkpoints and self.checkpoint_root is None:
            raise ValueError("give `checkpoint_root`, the folder where the checkpoints are")
        return self

    @property
    def model_names(self) -> list[str]:
        """The names of members, ensemble and calibrated forecast, as tables show them; the last one is served."""
        ensemble = [self.ensembler.name] if self.ensembler else []
        served = [calibrated(self.raw_name)] if self.calibration else []
        return [*self.member_names, *ensemble, *served]

    @property
    def raw_name(self) -> str:
        """The name of what is calibrated, and served where nothing is: the ensemble, or else the last member."""
        return self.ensembler.name if self.ensembler else self.member_names[-1]

    @property
    def member_names(self) -> list[str]:
        """The names of the members, as tables and reports show them."""
        return [f.name or f.type for f in self.forecasters]

    @property
    def weights(self) -> dict[str, Weights]:
        """What has to be known of the members' weights, by model, for those that come with any."""
        return {f.name or f.type: found for f in self.forecasters if (found := f.weights_used) is not None}

    @property
    def forecast_symbols(self) -> tuple[str, ...]:
        """The symbols to forecast, in the file's order."""
        return tuple(s for s, instrument in self.universe.items() if instrument.forecast)
