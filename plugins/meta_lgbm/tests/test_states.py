"""What has been learned is kept as text and gives the same numbers; damaged text is refused."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from kronosfw_meta_lgbm.options import DirectionLgbm, MetaLgbm

from kronosfw.testing.market import SmallMarket

from .made import past

LEVELS = (0.1, 0.5, 0.9)
LATE = np.datetime64("2023-01-01", "us")
MEMBERS = {
    "a": {"low": (0.1, 1.0), "normal": (1.0, 1.0), "high": (1.0, 1.0)},
    "b": {"low": (1.0, 1.0), "normal": (1.0, 1.0), "high": (0.1, 1.0)},
    "c": (0.7, 1.5),
}
EVERY = (MetaLgbm(least=1000), DirectionLgbm(least=1000, rounds=20))
every = pytest.mark.parametrize("options", EVERY, ids=lambda o: o.type)


@pytest.fixture(scope="module")
def windows():
    market = SmallMarket.make(n_symbols=3, n=420)
    return market.windows(market.bars["S0"].times.available_at[380], context=300, horizon=3)


@pytest.fixture(scope="module")
def frame():
    table = past(200, members=MEMBERS, symbols=6)
    # So that there is a direction to be learned.
    table["regime"] = np.where(table["realised"] > table["last_close"], "low", "high")
    return table


@pytest.fixture(scope="module")
def taught(frame):
    found = {}
    for options in EVERY:
        found[options.type] = options.build()
        found[options.type].fit(frame, LATE)
    return found


def members(window, names="abc"):
    for i, name in enumerate(names):
        quantiles = window.bars.close[-1] * (1 + 0.005 * (i - 1) + 0.01 * (i + 1) * np.array([-1.28, 0, 1.28]))
        yield replace(window.forecast(LEVELS, np.tile(quantiles, (3, 1))), model=name)


@every
def test_a_state_read_back_from_json_gives_the_same_bits(options, taught, frame, windows):
    learner = taught[options.type]
    state = json.loads(json.dumps(learner.state(), allow_nan=False))
    assert any(lesson["rounds"] for lesson in state["lessons"].values()), "there must be trees to lose"
    restored = options.build()
    restored.restore(state)
    assert json.dumps(restored.state()) == json.dumps(learner.state())
    restored.fit(frame, LATE)
    for window in windows:
        one, other = (e.combine(window, list(members(window)), LEVELS) for e in (learner, restored))
        assert one.quantiles.tobytes() == other.quantiles.tobytes()
        assert one.event_context == other.event_context


@every
@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("lessons", "crypto", "trees"), lambda text: text.replace("leaf_value=", "leaf_value=9", 1), "sha256"),
        (("lessons", "crypto", "trees"), lambda text: text[:-200], "sha256"),
        (("lessons", "crypto", "sha256"), lambda _: "0" * 64, "sha256"),
        (("lessons", "crypto", "base"), lambda _: "none", "could not convert"),
        (("lessons", "crypto"), lambda _: {}, "damaged"),
        (("lessons",), lambda _: None, "damaged"),
        (("members",), lambda _: ["a", "b"], "features"),
        (("options",), lambda _: "other", "other options"),
        (("format",), lambda _: 0, "other options"),
    ],
)
def test_a_damaged_or_foreign_state_is_refused(options, taught, place, value, says):
    state = deepcopy(dict(taught[options.type].state()))
    *path, last = place
    holder = state
    for key in path:
        holder = holder[key]
    holder[last] = value(holder[last])
    with pytest.raises(ValueError, match=says):
        options.build().restore(state)


def test_options_that_change_what_is_learned_make_another_state(taught):
    state = taught["meta_lgbm"].state()
    others = {"leaves": 31}, {"channels": ("is_cpi",)}, {"least": 500}
    for other in (*(MetaLgbm(**{"least": 1000, **changed}) for changed in others), DirectionLgbm(least=1000)):
        with pytest.raises(ValueError, match="other options"):
            other.build().restore(state)
    MetaLgbm(name="another", refit_days=7, least=1000).build().restore(state)


@every
def test_nothing_is_printed(options, capfd):
    learner = options.build()
    learner.fit(past(120, members=MEMBERS), LATE)
    learner.restore(json.loads(json.dumps(learner.state())))
    assert capfd.readouterr() == ("", "")
