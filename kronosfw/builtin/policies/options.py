"""Options of the built-in checkpoint policies."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from ...errors import ConfigError
from ...interfaces import CheckpointPolicyConfig

if TYPE_CHECKING:
    from ...interfaces import CheckpointPolicy

_NOTHING_IS_EMPTY = BeforeValidator(lambda value: {} if value is None else value)
_OR_NONE = BeforeValidator(lambda value: None if value == "none" else value)
Share = Annotated[float, Field(ge=0, le=4)]


class Latest(CheckpointPolicyConfig):
    """Serves the newest checkpoint of the asset class, else the newest pooled one; keeps the last few."""

    type: Literal["latest"] = "latest"
    keep: int = Field(6, ge=1, description="Checkpoints kept of each asset class; pooled ones are all kept.")
    every_days: int = Field(30, ge=1, description="Days between two trainings.")

    def build(self) -> CheckpointPolicy:
        from .latest import LatestPolicy

        return LatestPolicy(self)


class Section(BaseModel):
    """Base of the sections of ``rolling``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Cadence(Section):
    """When to train: at slots of the calendar, in UTC, less often while training gains little.

    A drift makes a training due at once. Slots that were missed are made up for by the latest of them.
    """

    every: Literal["adaptive", "monthly", "quarterly"] = Field(
        "adaptive",
        description="Quarterly (January, April, July, October), monthly, or adaptive: quarterly once the last "
        "three retrainings each gained less than the threshold, monthly after one that gains more, a rollback or "
        "a drift.",
    )
    day: int = Field(1, ge=1, le=31, description="Day of the month; the last one where a month is shorter.")
    hour: int = Field(0, ge=0, le=23, description="Hour of that day, UTC.")
    measure: Literal["crps", "sharpe", "both"] = Field(
        "crps",
        description="What adaptive looks at: the CRPS against the arm that is never retrained, the Sharpe ratio of "
        "the toy strategy against what served, or both, of which one suffices as a gain.",
    )
    least_gain: float = Field(
        0.01, ge=0, lt=1, description="Share of the CRPS below which a retraining counts as having gained little."
    )
    least_sharpe: float = Field(
        0.05, ge=0, description="Difference of yearly Sharpe ratios below which it counts as having gained little."
    )
    cost: float = Field(
        0.0005, ge=0, lt=1, description="What the toy strategy pays to go from no position to a full one, a share."
    )


class Noninferiority(Section):
    """The candidate must be shown to be hardly worse than what serves, by a bootstrap of days."""

    margin: float = Field(0.01, gt=0, lt=1, description="Loss of CRPS that is let pass, as a share of it.")
    quiet_margin: float = Field(
        0.02, gt=0, lt=1, description="The same on forecasts of bars without an event alone."
    )
    coverage: float = Field(
        0.03, gt=0, lt=0.5, description="How far the coverage of p10 to p90 may be from 80 %, as a share."
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="Level of the one-sided bounds.")
    min_days: int = Field(20, ge=10, description="Days that must have been judged; with fewer it is rejected.")
    resamples: int = Field(2000, ge=200, le=100_000, description="Draws of the bootstrap.")
    block: int | None = Field(
        None, ge=1, description="Mean days in a block of the bootstrap; chosen by the data unless given."
    )
    seed: int = Field(0, ge=0, description="Seed of the bootstrap.")


class Shrinkage(Section):
    """How much of what was learned to keep, chosen on the validation, within one standard error of the best."""

    shares: tuple[Share, ...] = Field(
        (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5),
        min_length=2,
        description="Shares of the way from what serves (0) to what was trained (1) among which one is chosen.",
    )

    @field_validator("shares")
    @classmethod
    def _increase(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if list(shares) != sorted(set(shares)):
            raise ValueError("shares must increase")
        if not {0, 1} <= set(shares):
            raise ValueError("0 and 1, what serves and what was trained, must be among the shares")
        return shares


class Canary(Section):
    """What was promoted is watched against what served before, by two bets that grow with the evidence.

    Where it does no harm, a rollback has a chance of at most 1 in `roll_back_at` one step ahead and of twice that
    over several steps, however often one looks.
    """

    roll_back_at: float = Field(20, gt=1, description="Evidence of harm at which the old weights come back.")
    confirm_at: float = Field(20, gt=1, description="Evidence of gain at which the promotion is confirmed.")
    days: int = Field(63, ge=1, description="Days with known outcomes after which it is confirmed anyhow.")


class Guard(Section):
    """What a candidate has to pass; each step but the first can be left out with `none`."""

    mae: float = Field(
        0.10,
        gt=0,
        description="The plain rule: most that the MAE may lie above that of what serves, or of the base.",
    )
    noninferiority: Annotated[Noninferiority | None, _OR_NONE] = Field(
        Noninferiority(), description="Bounds on CRPS and coverage; none leaves them out."
    )
    shrinkage: Annotated[Shrinkage | None, _OR_NONE] = Field(
        Shrinkage(), description="How much of the training to keep; none keeps all of it."
    )
    canary: Annotated[Canary | None, _OR_NONE] = Field(
        Canary(), description="The watch over what was promoted; none trusts it from the start."
    )


class Rolling(CheckpointPolicyConfig):
    """Trains by the calendar, admits what the guard lets pass, watches it and goes back if it does harm."""

    type: Literal["rolling"] = "rolling"
    keep: int = Field(
        6, ge=1, description="Versions kept of each asset class, rejected ones among them; pooled ones all are."
    )
    cadence: Annotated[Cadence, _NOTHING_IS_EMPTY] = Field(Cadence(), description="When to train.")
    guard: Annotated[Guard, _NOTHING_IS_EMPTY] = Field(Guard(), description="What a candidate has to pass.")

    def build(self) -> CheckpointPolicy:
        if self.guard.noninferiority is not None and find_spec("arch") is None:
            raise ConfigError(
                "the guard's `noninferiority` needs the package arch: pip install 'kronosfw[guard]', "
                "or leave it out with `guard: {noninferiority: none}`"
            )
        from .rolling import RollingPolicy

        return RollingPolicy(self)
