"""A plugin with an ensembler that keeps what it has learned."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import EnsemblerConfig


class Pupil(EnsemblerConfig):
    """Counts the outcomes it has seen, and says how many, and the first member's forecast moved by as much."""

    type: Literal["pupil"] = "pupil"
    days: int = Field(10, description="Days after which it learns again.")
    fault: str = Field("", description="What goes wrong.")

    def build(self):
        if self.fault == "build":
            raise ImportError("no trees")
        return PupilEnsembler(self)


class PupilEnsembler:
    learns = True

    def __init__(self, options):
        self.options, self.known = options, None

    def member_levels(self, levels):
        return levels

    def fit(self, past, cutoff):
        if self.options.fault == "fit":
            raise RuntimeError("no convergence")
        day = cutoff.astype("datetime64[D]")
        if self.known is None or day - np.datetime64(self.known["until"]) >= self.options.days:
            self.known = {"outcomes": len(past), "until": str(day)}

    @property
    def summary(self):
        return (f"seen by {self.known['until']}",)

    def state(self):
        return self.known

    def restore(self, state):
        if self.options.fault == "restore":
            raise ValueError("a state of another age")
        self.known = dict(state)

    def combine(self, window, members, levels):
        moved = members[0].quantiles + self.known["outcomes"]
        note = f"{self.known['outcomes']} by {self.known['until']}"
        return window.forecast(levels, moved, columns=members[0].columns, event_context={"note": note})


@hookimpl
def register_ensemblers():
    return [Pupil]
