"""A table that grows equals a plain frame that is filtered, types included."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from kronosfw.backtesting.columns import Columns
from kronosfw.store import scored_frame
from tests.rows import AS_OF, evaluation, prediction

MODELS = ["drift", "ensemble", "ensemble_calibrated"]
moments = st.integers(0, 20).map(lambda hours: AS_OF + timedelta(hours=hours))


@st.composite
def scored(draw):
    """Return some scored predictions as the store has them."""
    rows = [
        {
            **prediction(draw(st.integers(1, 3))),
            **evaluation(),
            "as_of": draw(moments),
            "realised_at": draw(moments),
            "model_name": draw(st.sampled_from(MODELS)),
            "symbol": draw(st.sampled_from("AB")),
            "p50": draw(st.floats(95, 105)),
            "quantiles": draw(st.none() | st.just({"close": {"0.25": 95.1}})),
            "covered": draw(st.booleans()),
            "direction_hit": draw(st.none() | st.booleans()),
            "run_id": "a1b2",
            "created_at": AS_OF,
            "scored_at": AS_OF,
        }
        for _ in range(draw(st.integers(0, 6)))
    ]
    return scored_frame(rows)


@given(
    parts=st.lists(scored(), min_size=1, max_size=4),
    models=st.lists(st.sampled_from([*MODELS, "other"]), max_size=3),
    since=st.none() | moments,
    until=moments,
)
def test_what_is_found_is_what_a_plain_frame_holds(parts, models, since, until):
    table = Columns(parts[0], "realised_at")
    for part in parts[1:]:
        table.add(part)
    rows = [row for part in parts for row in part.to_dict("records")]
    whole = pd.DataFrame(rows, columns=list(parts[0])).astype(parts[0].dtypes.to_dict())
    wanted = whole["model_name"].isin(models) & (whole["realised_at"] <= until)
    if since is not None:
        wanted &= whole["realised_at"] > since
    places = table.find(models, since, until)
    assert places.tolist() == wanted[wanted].index.tolist()
    found = table.frame(places)
    pd.testing.assert_frame_equal(found, whole[wanted].reset_index(drop=True), check_exact=True)
    assert table["covered"].tolist() == whole["covered"].tolist()
