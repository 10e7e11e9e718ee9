"""When the policy `rolling` trains: slots of the calendar, the adaptive pace, drift."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kronosfw.builtin.policies import Cadence, Latest, Rolling
from kronosfw.builtin.policies.slots import MONTHLY, QUARTERLY, slot
from kronosfw.types import Entry

moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
months = st.sampled_from([MONTHLY, QUARTERLY])
days, hours = st.integers(1, 31), st.integers(0, 23)
events = st.sampled_from(["promoted", "rejected", "failed", "confirmed", "rolled_back", "drifted", "activated"])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(history, now, **cadence):
    return Rolling(cadence=cadence).build().due(history, at(now))


def retrained(slot, event="promoted", **numbers):
    return Entry(at(slot) + timedelta(hours=5), event, "v", slot=at(slot), numbers=numbers)


def small(*slots, gain=0.001):
    return [retrained(slot, crps_gain=gain, sharpe_gain=gain) for slot in slots]


@given(moments, months, days, hours)
@example(at("2024-02-29T12:00"), MONTHLY, 31, 12)
@example(at("2023-03-01T00:00"), MONTHLY, 31, 0)
@example(at("2023-01-01T00:00"), QUARTERLY, 1, 1)
def test_a_slot_is_the_latest_of_the_calendar(now, chosen, day, hour):
    found = slot(now, chosen, day, hour)
    calendar = [
        datetime(year, month, min(day, monthrange(year, month)[1]), hour, tzinfo=UTC)
        for year in (now.year - 1, now.year)
        for month in sorted(chosen)
    ]
    assert found == max(moment for moment in calendar if moment <= now)


@given(moments, months, days, hours)
def test_a_slot_is_its_own_slot_and_never_falls_back(now, chosen, day, hour):
    found = slot(now, chosen, day, hour)
    assert slot(found, chosen, day, hour) == found
    assert slot(now + timedelta(days=1), chosen, day, hour) >= found


@given(moments, st.integers(-12, 12))
def test_a_slot_does_not_depend_on_the_zone(now, offset):
    elsewhere = now.astimezone(timezone(timedelta(hours=offset)))
    assert slot(elsewhere, MONTHLY, 15, 6) == slot(now, MONTHLY, 15, 6)


def test_a_moment_must_say_its_zone():
    naive = datetime(2025, 6, 1)
    for policy in (Rolling().build(), Latest().build()):
        with pytest.raises(ValueError, match="does not say its time zone"):
            policy.due([], naive)


def test_month_ends():
    assert due([], "2024-03-15", day=31) == at("2024-02-29")
    assert due([], "2023-03-15", day=31) == at("2023-02-28")
    assert due([], "2023-04-30T05:00", day=31, hour=6) == at("2023-03-31T06:00")
    assert due([], "2023-04-30T06:00", day=31, hour=6) == at("2023-04-30T06:00")


def test_missed_slots_are_made_up_for_by_the_latest():
    assert due([retrained("2025-01-01")], "2025-05-20") == at("2025-05-01")


@pytest.mark.parametrize(("event", "expected"), [("promoted", None), ("rejected", None), ("failed", "2025-05-01")])
def test_what_ended_is_not_due_again(event, expected):
    history = [retrained("2025-04-01"), retrained("2025-05-01", event)]
    assert due(history, "2025-05-20") == (expected and at(expected))


def test_a_retraining_without_a_slot_counts_from_when_it_ended():
    assert due([Entry(at("2025-05-03"), "promoted")], "2025-05-20") is None
    assert due([Entry(at("2025-05-03"), "promoted")], "2025-06-01") == at("2025-06-01")


def test_a_drift_makes_a_retraining_due_at_the_last_hour_before_it():
    history = [retrained("2025-05-01"), Entry(at("2025-05-10T03:30"), "drifted")]
    assert due(history, "2025-05-10T04:00") == at("2025-05-10")
    assert due(history, "2025-05-10T04:00", hour=6, day=1) == at("2025-05-09T06:00")
    again = [*history, Entry(at("2025-05-12T03:30"), "drifted")]
    assert due(again, "2025-05-13") == at("2025-05-10"), "an interrupted training goes on where it was"
    assert due(again, "2025-06-01") == at("2025-06-01")
    done = [*again, retrained("2025-05-10")]
    assert due(done, "2025-05-13") is None
    assert due([*done, Entry(at("2025-05-10T20:00"), "drifted")], "2025-05-13") is None, "it has seen that day"
    later = [*done, Entry(at("2025-05-10T20:00"), "drifted"), Entry(at("2025-05-14T20:00"), "drifted")]
    assert due(later, "2025-05-15") == at("2025-05-14")


@given(
    st.lists(st.tuples(moments, events, st.floats(-0.1, 0.1)), max_size=8),
    moments,
    st.timedeltas(timedelta(0), timedelta(days=400)),
    st.sampled_from(["adaptive", "monthly", "quarterly"]),
    days,
    hours,
)
def test_what_is_due_stays_due_until_it_ends(drawn, now, later, every, day, hour):
    policy = Rolling(cadence={"every": every, "day": day, "hour": hour}).build()
    past = sorted((d for d in drawn if d[0] <= now), key=lambda d: d[0])
    history = [Entry(a, e, slot=a - timedelta(hours=9), numbers={"crps_gain": g}) for a, e, g in past]
    found = policy.due(history, now)
    if found is not None:
        assert found <= now
        then = policy.due(history, now + later)
        assert then is not None
        assert then >= found
        assert policy.due([*history, Entry(now, "failed", slot=found)], now) == found
        for event in ("promoted", "rejected"):
            assert policy.due([*history, Entry(now, event, slot=found)], now) is None


THREE = "2025-01-01", "2025-02-01", "2025-03-01"


def test_three_small_gains_make_it_quarterly():
    assert due(small(*THREE[:2]), "2025-03-05") == at("2025-03-01")
    assert due(small(*THREE), "2025-05-05") == at("2025-04-01")
    assert due([*small(*THREE), *small("2025-04-01")], "2025-06-30") is None
    assert due([*small(*THREE), *small("2025-04-01")], "2025-07-01") == at("2025-07-01")


@pytest.mark.parametrize(
    "upset",
    [
        retrained("2025-04-01", crps_gain=0.05),
        Entry(at("2025-04-20"), "rolled_back"),
    ],
)
def test_it_is_monthly_again_after_a_gain_or_a_rollback(upset):
    history = [*small(*THREE, "2025-04-01"), upset]
    assert due(history, "2025-05-05") == at("2025-05-01")


def test_it_is_monthly_again_after_a_drift():
    history = [*small(*THREE), Entry(at("2025-03-10"), "drifted"), retrained("2025-03-10", crps_gain=0.0)]
    assert due(history, "2025-05-05") == at("2025-05-01")


def test_a_rejected_one_gained_nothing_and_a_failed_one_says_nothing():
    rejected = retrained("2025-03-01", "rejected", crps_gain=0.5)
    assert due([*small(*THREE[:2]), rejected], "2025-05-05") == at("2025-04-01")
    failed = retrained("2025-03-01", "failed")
    assert due([*small(*THREE[:2]), failed], "2025-05-05") == at("2025-05-01")


def test_several_retrainings_in_a_slot_count_once():
    again = [retrained("2025-02-01", "rejected"), retrained("2025-02-01", "rejected")]
    assert due([*small(*THREE[:2]), *again], "2025-05-05") == at("2025-05-01")


def test_what_was_not_measured_does_not_count():
    unmeasured = retrained("2025-02-15")
    assert due([*small(*THREE[:2]), unmeasured], "2025-05-05") == at("2025-05-01")
    assert due([*small(*THREE[:2]), unmeasured, *small(THREE[2])], "2025-05-05") == at("2025-04-01")


@pytest.mark.parametrize(
    ("measure", "crps", "sharpe", "quarterly"),
    [
        ("crps", 0.009, 1.0, True),
        ("crps", 0.011, 0.0, False),
        ("sharpe", 1.0, 0.04, True),
        ("sharpe", 0.0, 0.06, False),
        ("both", 0.009, 0.04, True),
        ("both", 0.009, 0.06, False),
        ("both", 0.011, 0.04, False),
    ],
)
def test_the_measure_and_its_threshold(measure, crps, sharpe, quarterly):
    history = [retrained(s, crps_gain=crps, sharpe_gain=sharpe) for s in THREE]
    assert due(history, "2025-05-05", measure=measure) == at("2025-04-01" if quarterly else "2025-05-01")


def test_a_fixed_pace_knows_no_gains():
    assert due(small(*THREE), "2025-05-05", every="monthly") == at("2025-05-01")
    assert due([retrained("2025-04-01", crps_gain=1)], "2025-06-05", every="quarterly") is None


def test_latest_counts_days_from_the_last_slot():
    policy = Latest(every_days=7).build()
    assert policy.due([], at("2025-06-03T09:00")) == at("2025-06-03")
    history = [retrained("2025-06-01T09:00"), retrained("2025-06-08T09:00", "failed")]
    assert policy.due(history, at("2025-06-08T08:59")) is None
    assert policy.due(history, at("2025-06-30")) == at("2025-06-29T09:00")


def test_cadence_options_have_bounds():
    for wrong in ({"day": 0}, {"day": 32}, {"hour": 24}, {"every": "weekly"}, {"cost": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Cadence(**wrong)
