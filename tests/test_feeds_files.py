"""The feeds csv and parquet: what they read, what they refuse, and what they say about it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kronosfw.builtin.feeds import CsvFeed, ParquetFeed
from kronosfw.errors import ConfigError, DataError, SymbolError
from kronosfw.types import Span, moment

DATA = Path(__file__).parents[1] / "../shared/data"
EVER = Span(moment("2100-01-01"))
HEADER = "date,open,high,low,close\n"

needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.exists(), reason="the real bars and calendars are not here"),
]


def read(path: Path, symbol: str = "A", freq: str = "1d", span: Span = EVER, **options: object) -> pd.DataFrame:
    kind = ParquetFeed if path.suffix == ".parquet" else CsvFeed
    [(name, frame)] = kind(path=path, **options).build().bars([symbol], freq, span)  # type: ignore[arg-type]
    assert name == symbol
    if isinstance(frame, SymbolError):
        raise frame
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"
    assert {str(t) for t in frame.dtypes.iloc[1:]} == {"float64"}
    return frame


def stamps(frame: pd.DataFrame) -> list[str]:
    return [t.strftime("%Y-%m-%dT%H:%M") for t in frame["time"]]


def rows(*times: str) -> str:
    return HEADER + "".join(f"{t},1,2,0.5,{i}\n" for i, t in enumerate(times))


@pytest.fixture
def csv(tmp_path: Path):
    def write(content: str | bytes, name: str = "A.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("name", ["timestamp", "timestamps", "DATE", " Datetime ", "time", "ds"])
def test_usual_time_columns_are_found_in_any_case(csv, name):
    frame = read(csv(f"{name}, Open,HIGH,low,Close,note,Volume\n2024-01-02,1,2,0.5,1.5,hello,7\n"))
    assert list(frame.columns) == ["time", "open", "high", "low", "close", "volume"]
    assert frame.iloc[0, 1:].tolist() == [1, 2, 0.5, 1.5, 7]


def test_columns_can_be_mapped(csv):
    path = csv("Date,Time,o,h,l,close,Adj\n2024-01-02,x,1,2,0,5,6\n")
    columns = {"time": "Date", "open": "o", "high": "H", "low": "l", "close": "Adj"}
    assert read(path, columns=columns)["close"].tolist() == [6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "file is empty"),
        (b"\n\n", "file is empty"),
        (HEADER, "header and no row"),
        (HEADER + "\n\n", "header and no row"),
        ("date,open,open,high,low,close\n", "'open' stands there twice"),
        ("date,Open,open,high,low,close\n2024-01-02,1,1,1,1,1\n", "several columns could be the open"),
        (
            "date,time,open,high,low,close\n2024-01-02,09:30,1,1,1,1\n",
            "several columns could be the time: date, time",
        ),
        ("date,open,high,close\n2024-01-02,1,1,1\n", "no column for low; found 'date', 'open'"),
        ("date;open;high;low;close\n2024-01-02;1;1;1;1\n", "no column for time, open, high, low, close"),
        (rows("2024-01-02") + "2024-01-03,1,1\n", "line 3: the row has 3 fields; the header has 5"),
        ("\n" + rows("2024-01-02") + "\n\n2024-01-03,1,1\n", "line 6: the row has 3 fields"),
        (rows("2024-01-02") + "2024-01-03,1,1,1,x1\n", "line 3: close is 'x1'; expected a number"),
        (rows("2024-01-02") + "2024-01-03,1,1,1,1e999\n", "line 3: close is '1e999'"),
        (rows("2024-01-02", "01/03/2024"), "line 3: the time is '01/03/2024'; expected ISO 8601"),
        (rows("2024-01-02", "2024-02-30"), "line 3: the time is '2024-02-30', which is not on the calendar"),
        (rows("2024-01-02", "2024-01-03 25:00"), "line 3: the time is '2024-01-03 25:00', which is not on"),
        (rows("2024-01-02", ""), "line 3: the time is missing"),
        (rows("2024-01-02", "20240103"), "line 3: the time is '20240103'"),
        (
            rows("1824-01-02"),
            "line 2: the time '1824-01-02T00:00:00.000000' is not between the years 1900 and 2200",
        ),
        (rows("2024-01-02").encode() + b"2024-01-03,1,1,1,\xff\n", "line 3: the byte 0xff is no text in UTF-8"),
        (rows("2024-01-02").encode("utf-16"), "A.csv: line 1"),
        (rows("2024-01-02").encode() + b"2024-01-03,1,1,\0,1\n", "line 3: a NUL byte"),
        (rows("2024-01-02") + '2024-01-03,1,1,1,"1\n', "line 3: unexpected end of data"),
        (
            rows("2024-01-02") + '"2024-01-03,1,1,1,1\n2024-01-04",1,1,1,1\n',
            "line 3: a quotation mark is not closed",
        ),
        (rows("2024-01-02") + '2024-01-03,"1"5,1,1,1\n', "line 3: "),
        (rows("2024-01-02") + "2024-01-03,1,1,1," + "1" * (3 << 20), "a line is longer than 1 MiB"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(csv, text, message):
    path = csv(text)
    with pytest.raises(SymbolError) as error:
        read(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_file_beyond_the_size_limit_is_refused(csv):
    with pytest.raises(SymbolError, match="larger than `max_bytes`"):
        read(csv(rows("2024-01-02")), max_bytes=20)


def test_empty_and_nan_are_nan_and_inf_is_inf(csv):
    frame = read(csv(HEADER + '2024-01-02,,nan,NaN,inf\n2024-01-03, 1.5 ,+2,"",-inf\n'))
    assert np.isnan(frame.loc[0, ["open", "high", "low"]].astype(float)).all()
    assert frame["close"].tolist() == [math.inf, -math.inf]
    assert frame["open"][1] == 1.5
    assert frame["high"][1] == 2
    assert math.isnan(frame["low"][1])


@pytest.mark.parametrize("word", ["NULL", "N/A", "-", "None", "1,5", "1_000", "0x10"])
def test_other_words_for_nothing_are_refused(csv, word):
    with pytest.raises(SymbolError, match="line 2: close is"):
        read(csv(f'{HEADER}2024-01-02,1,1,1,"{word}"\n'))


def test_line_ends_a_byte_order_mark_and_blank_lines_do_not_matter(csv):
    plain = read(csv(rows("2024-01-02", "2024-01-03")))
    for text in (
        rows("2024-01-02", "2024-01-03").replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + rows("2024-01-02", "2024-01-03").encode(),
        rows("2024-01-02", "2024-01-03").replace("\n", "\n\n").strip().encode(),
    ):
        pd.testing.assert_frame_equal(read(csv(text)), plain)


def test_stamps_are_read_to_utc_and_mixed_offsets_reported(csv):
    times = ["2024-01-02T10:00:00-0500", "2024-01-02 10:00Z", "2024-01-02 10:00:00.5+05:30", "2024-01-02T10:00"]
    frame = read(csv(rows(*times)), freq="1h", timezone="America/New_York")
    assert stamps(frame) == ["2024-01-02T15:00", "2024-01-02T10:00", "2024-01-02T04:30", "2024-01-02T15:00"]
    assert frame.attrs["offsets"] == ("+00:00", "+05:30", "-05:00", "naive")
    assert "offsets" not in read(csv(rows(times[0], times[0])), freq="1h").attrs


def test_a_date_and_a_naive_midnight_of_a_daily_bar_name_the_session(csv):
    path = csv(rows("2024-07-02", "2024-07-03 00:00:00"))
    assert stamps(read(path, timezone="Asia/Tokyo")) == ["2024-07-02T00:00", "2024-07-03T00:00"]
    assert stamps(read(path, timezone="Asia/Tokyo", freq="1h")) == ["2024-07-02T00:00", "2024-07-02T15:00"]


@pytest.mark.parametrize("stamp", ["2024-03-10 02:30", "2024-11-03 01:30"])
def test_times_that_the_clock_skips_or_repeats_are_refused(csv, stamp):
    with pytest.raises(SymbolError, match=r"line 3: .* is skipped or comes twice in America/New_York.*UTC"):
        read(csv(rows("2024-01-02 10:00", stamp)), freq="1h", timezone="America/New_York")


def test_close_stamps_are_left_for_the_host_to_match(csv):
    path = csv(rows("2024-01-02 09:35", "2024-01-02 09:40", "2024-01-02 09:45"))
    frame = read(path, freq="5min", stamp="close")
    assert stamps(frame) == ["2024-01-02T09:35", "2024-01-02T09:40", "2024-01-02T09:45"]
    assert frame.attrs["stamp"] == "close"
    assert "stamp" not in read(path, freq="5min").attrs
    span = Span(moment("2024-01-02T09:42"), start=moment("2024-01-02T09:35"))
    assert stamps(read(path, freq="5min", span=span, stamp="close")) == ["2024-01-02T09:40"]
    assert stamps(read(path, freq="5min", span=span)) == ["2024-01-02T09:35", "2024-01-02T09:40"]


def test_a_date_names_the_session_of_a_daily_bar_whichever_end_is_stamped(csv):
    frame = read(csv(rows("2024-01-02")), stamp="close")
    assert stamps(frame) == ["2024-01-02T00:00"]
    assert not frame.attrs


@pytest.mark.parametrize(
    ("first", "second", "offsets"),
    [
        ("2024-01-02T10:00:00-05:00", "2024-07-02T10:00:00-04:00", ("-04:00", "-05:00")),
        ("2024-01-02T10:00+05:00", "2024-01-02T10:00-05:00", ("+05:00", "-05:00")),
        ("2024-01-02 10:00", "2024-01-02T10:00", None),
        ("2024-01-02T10:00:00", "2024-01-02T10:00Z  ", ("+00:00", "naive")),
        ("2024-01-02", " 2024-01-03 ", None),
    ],
)
def test_stamps_of_two_kinds_are_told_apart(csv, first, second, offsets):
    alone = [read(csv(rows(stamp)), freq="1h")["time"][0] for stamp in (first, second)]
    together = read(csv(rows(first, second)), freq="1h")
    assert together["time"].tolist() == alone
    assert together.attrs.get("offsets") == offsets


@pytest.mark.parametrize("odd", ["2024-01-0x", "2024/01/03", "2024-01-3x", "２024-01-0", "2024-02-30"])
def test_a_stamp_unlike_the_others_is_found(csv, odd):
    with pytest.raises(SymbolError, match=f"line 3: the time is '{odd}'"):
        read(csv(rows("2024-01-02", odd, "2024-01-04")))


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("%d.%m.%Y %H:%M", "02.01.2024 10:00", "2024-01-02T15:00"),
        ("%d.%m.%Y", "02.01.2024", "2024-01-02T00:00"),
        ("%Y%m%d %H%M%S %z", "20240102 100000 +0100", "2024-01-02T09:00"),
        ("epoch_s", "1704189600", "2024-01-02T10:00"),
        ("epoch_ms", "1704189600000", "2024-01-02T10:00"),
    ],
)
def test_other_formats_are_read_when_asked_for(csv, pattern, text, expected):
    path = csv(rows(text, text))
    frame = read(path, freq="1h", time_format=pattern, timezone="America/New_York")
    assert stamps(frame) == [expected, expected]
    with pytest.raises(SymbolError, match="line 3: "):
        read(csv(rows(text, "soon")), freq="1h", time_format=pattern)


def test_the_last_bars_are_the_last_in_time_wherever_they_stand(csv):
    path = csv(rows("2024-01-05", "2024-01-02", "2024-01-04", "2024-01-03", "2024-01-08"))
    span = Span(moment("2024-01-06"), last=2)
    assert stamps(read(path, span=span)) == ["2024-01-05T00:00", "2024-01-04T00:00"]
    span = Span(moment("2024-01-04"), start=moment("2024-01-03"))
    assert stamps(read(path, span=span)) == ["2024-01-04T00:00", "2024-01-03T00:00"]
    assert len(read(path, span=Span(moment("2000-01-01")))) == 0


@pytest.mark.parametrize("symbol", ["NA", "NULL", "None", "nan", "ON", "07", "A B", "É", "BTC/USDT"])
def test_odd_symbols_survive_in_long_files(csv, symbol):
    text = f"symbol,{HEADER}B,2024-01-02,1,1,1,1\n{symbol},2024-01-02,2,2,2,2\nB,2024-01-03,1,1,1,1\n"
    assert read(csv(text, "all.csv"), symbol)["open"].tolist() == [2]


@pytest.mark.parametrize(("symbol", "name"), [("BRK.B", "BRK%2EB"), ("BRK.B", "BRK.B"), ("BTC/USDT", "BTC%2FUSDT")])
def test_files_of_odd_symbols_are_found_under_their_quoted_name(csv, tmp_path, symbol, name):
    csv(rows("2024-01-02"), f"{name}.csv")
    assert len(read(tmp_path / "*.csv", symbol)) == 1


def test_a_long_file_may_come_in_parts(csv, tmp_path):
    csv(f"ticker,{HEADER}A,2023-01-02,1,1,1,1\n", "2023.csv")
    csv("ticker,date,open,high,low,close,volume\nA,2024-01-02,2,2,2,2,9\nB,2024-01-02,3,3,3,3,9\n", "2024.csv")
    frame = read(tmp_path / "*.csv")
    assert frame["open"].tolist() == [1, 2]
    assert math.isnan(frame["volume"][0])
    assert frame["volume"][1] == 9


def test_a_long_file_is_read_once(csv, tmp_path):
    path = csv(f"symbol,{HEADER}A,2024-01-02,1,1,1,1\nB,2024-01-02,2,2,2,2\n", "all.csv")
    feed = CsvFeed(path=tmp_path / "*.csv").build()
    first = dict(feed.bars(["A"], "1d", EVER))
    path.unlink()
    assert dict(feed.bars(["A", "B"], "1d", EVER))["A"].equals(first["A"])


def test_one_broken_file_leaves_the_others_alone(csv, tmp_path):
    csv(rows("2024-01-02"))
    csv("nonsense", "B.csv")
    csv("", "C.csv")
    csv(rows("2024-01-02"), "D.csv")
    found = dict(CsvFeed(path=tmp_path / "*.csv").build().bars(list("ABXCD"), "1d", EVER))
    assert list(found) == list("ABXCD")
    assert [s for s, frame in found.items() if isinstance(frame, SymbolError)] == ["B", "X", "C"]
    assert "B.csv" in str(found["B"])
    assert "file is empty" in str(found["C"])


def test_a_missing_symbol_is_named_with_what_was_looked_for(csv, tmp_path):
    csv(rows("2024-01-02"), "BTCUSDT.csv")
    with pytest.raises(
        SymbolError, match=r"BTCUSD: no file of .*\*\.csv is named after it; did you mean 'BTCUSDT'"
    ):
        read(tmp_path / "*.csv", "BTCUSD")
    csv(f"symbol,{HEADER}A,2024-01-02,1,1,1,1\n", "all.csv")
    with pytest.raises(SymbolError, match=r"Z: no file .* nor is it in the 1 with a symbol column"):
        read(tmp_path / "*.csv", "Z")
    csv(f"symbol,{HEADER}AA,2024-01-02,1,1,1,1\n", "X.csv")
    with pytest.raises(SymbolError, match=r"X\.csv has it in no row of its symbol column"):
        read(tmp_path / "*.csv", "X")


def test_rows_that_may_hide_in_an_unreadable_file_are_not_passed_over(csv, tmp_path):
    csv(f"symbol,{HEADER}A,2024-01-02,1,1,1,1\n", "2023.csv")
    csv("", "2024.csv")
    with pytest.raises(SymbolError, match=r"A: more of it may be in .*2024\.csv: the file is empty"):
        read(tmp_path / "*.csv")


def test_two_files_for_one_symbol_are_refused(csv, tmp_path):
    for folder in ("1d", "1h"):
        (tmp_path / folder).mkdir()
        csv(rows("2024-01-02"), f"{folder}/A.csv")
    with pytest.raises(SymbolError, match="several files are named after it"):
        read(tmp_path / "**/*.csv")


def test_paths_that_match_nothing_are_a_matter_of_configuration(tmp_path):
    for path in (tmp_path / "*.csv", tmp_path, tmp_path / "no" / "**x"):
        with pytest.raises(ConfigError, match="path "):
            list(CsvFeed(path=path).build().bars(["A"], "1d", EVER))
    with pytest.raises(ConfigError, match="give its `path`"):
        list(CsvFeed(calendar=tmp_path / "c.csv").build().bars(["A"], "1d", EVER))


def test_a_folder_whose_name_looks_like_a_pattern_is_meant_literally(csv, tmp_path):
    (tmp_path / "[x]").mkdir()
    csv(rows("2024-01-02"), "[x]/A.csv")
    assert len(read(tmp_path / "[x]" / "*.csv")) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `path`"),
        ({"path": "x", "timezone": "America/New_Yrok"}, "did you mean 'America/New_York'"),
        ({"path": "x", "timezone": "../etc"}, "expected a time zone"),
        ({"path": "x", "time_format": "iso"}, "expected epoch_s"),
        ({"path": "x", "time_format": "%H:%M"}, "expected epoch_s"),
        ({"path": "x", "columns": {"open": "p", "close": "p"}}, "mapped to the same name"),
        ({"path": "x", "separator": "ab"}, "separator"),
    ],
)
def test_wrong_options_are_refused_at_once(options, message):
    with pytest.raises(ValidationError, match=message):
        CsvFeed(**options)


def test_another_separator(csv):
    path = csv(rows("2024-01-02").replace(",", ";"))
    assert len(read(path, separator=";")) == 1


FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.tuples(*[FLOATS] * 5), min_size=1, max_size=20), daily=st.booleans())
def test_what_was_written_is_read_bit_for_bit(tmp_path_factory, values, daily):
    folder = tmp_path_factory.mktemp("bars")
    times = pd.date_range("2024-01-01", periods=len(values), freq="D" if daily else "h", tz="UTC").as_unit("us")
    frame = pd.DataFrame(values, columns=["open", "high", "low", "close", "volume"], dtype=float)
    frame.insert(0, "time", times)
    frame.to_csv(folder / "A.csv", index=False)
    frame.to_parquet(folder / "A.parquet")
    for name in ("A.csv", "A.parquet"):
        again = read(folder / name, freq="1d" if daily else "1h")
        pd.testing.assert_frame_equal(again, frame, check_exact=True)


GOOD = rows(*(f"2024-01-{day:02d}" for day in range(1, 29))).encode()
TEXTS = ("", "\0", '"', ",", "\n", "\r", "nan", "inf", "1e999", "--1", "NaT", "symbol", ";", " ", "\ufeff", "１")
STAMPS = ("2024-13-01", "2024-01-01T00:00:00+99:99", "9999-12-31", "0001-01-01", "1" * 200_000)
JUNK = st.sampled_from([b"\xff", *(text.encode() for text in TEXTS + STAMPS)])
EDIT = st.tuples(st.integers(0, len(GOOD)), st.integers(0, 40), JUNK | st.binary(max_size=8))


def refusal(path: Path, freq: str) -> str | None:
    """Return why a file is refused; None if it was read, and each line with it."""
    try:
        frame = read(path, path.stem, freq, Span(moment("2300-01-01")), timezone="Europe/Berlin")
    except (DataError, ConfigError) as error:
        return str(error)
    if path.suffix == ".csv":
        assert len(frame) == sum(map(bool, path.read_bytes().splitlines())) - 1
    return None


@settings(max_examples=1000, deadline=None)
@given(edits=st.lists(EDIT, min_size=1, max_size=4), freq=st.sampled_from(["1d", "5min"]))
def test_a_mutilated_file_is_read_or_refused_by_name(tmp_path_factory, edits, freq):
    path = tmp_path_factory.getbasetemp() / "mutilated.csv"
    data = GOOD
    for start, length, junk in edits:
        data = data[:start] + junk + data[start + length :]
    path.write_bytes(data)
    assert str(path) in (refusal(path, freq) or str(path))


class TestParquet:
    def write(self, folder: Path, **columns: object) -> Path:
        n = len(next(iter(columns.values())))  # type: ignore[arg-type]
        prices = {name: [float(i) for i in range(n)] for name in ("open", "high", "low", "close")}
        pq.write_table(pa.table({**prices, **columns}), folder / "A.parquet")
        return folder / "A.parquet"

    @pytest.mark.parametrize(
        ("kind", "zone", "expected"),
        [
            (pa.timestamp("ns"), "America/New_York", "2024-01-02T15:00"),
            (pa.timestamp("s", "Asia/Tokyo"), "America/New_York", "2024-01-02T10:00"),
            (pa.date32(), "America/New_York", "2024-01-02T00:00"),
        ],
    )
    def test_typed_times(self, tmp_path, kind, zone, expected):
        at = pa.array([pd.Timestamp("2024-01-02 10:00").to_pydatetime()]).cast(kind, safe=False)
        assert stamps(read(self.write(tmp_path, Date=at), freq="1h", timezone=zone)) == [expected]

    def test_times_as_text_and_numbers_of_every_type(self, tmp_path):
        path = self.write(
            tmp_path,
            date=["2024-01-02", "2024-01-03"],
            volume=pa.array([2**60, None]),
            amount=pa.array(["1.5", "nan"]),
        )
        frame = read(path)
        assert frame["volume"][0] == 2.0**60
        assert math.isnan(frame["volume"][1])
        assert frame["amount"][0] == 1.5

    def test_a_decimal_is_rounded_correctly(self, tmp_path):
        decimals = pa.array(["64945.328125123456789", "0.1"]).cast(pa.decimal128(38, 18))
        frame = read(self.write(tmp_path, date=["2024-01-02", "2024-01-03"], volume=decimals))
        assert frame["volume"].tolist() == [64945.328125123456789, 0.1]

    def test_epoch_numbers_need_a_format(self, tmp_path):
        path = self.write(tmp_path, time=[1704189600])
        assert stamps(read(path, freq="1h", time_format="epoch_s")) == ["2024-01-02T10:00"]
        with pytest.raises(SymbolError, match=r"type int64; expected times .*epoch_s"):
            read(path)

    def test_what_cannot_be_used_is_refused_with_its_row(self, tmp_path):
        for columns, message in (
            ({"date": ["2024-01-02", "soon"]}, "row 2: the time is 'soon'"),
            ({"date": ["2024-01-02"], "volume": [[1.0]]}, "volume is of type list"),
            ({"date": ["2024-01-02"], "symbol": [1.5]}, "the symbol is of type double"),
            ({"date": ["2024-01-02"], "symbol": pa.array([None], pa.string())}, "row 1: the symbol is missing"),
            ({"date": pa.array([], pa.string())}, "no row"),
        ):
            with pytest.raises(SymbolError, match=message):
                read(self.write(tmp_path, **columns))
        with pytest.raises(SymbolError, match="2 rows need more than `max_bytes`"):
            read(self.write(tmp_path, date=["2024-01-02"] * 2), max_bytes=30)

    @settings(max_examples=100, deadline=None)
    @given(at=st.integers(0, 5000), junk=st.binary(min_size=1, max_size=9))
    def test_a_damaged_file_is_read_or_refused_by_name(self, tmp_path_factory, at, junk):
        path = self.write(tmp_path_factory.getbasetemp(), date=["2024-01-02", "2024-01-03"])
        data = path.read_bytes()
        at %= len(data)
        path.write_bytes(data[:at] + junk + data[at + len(junk) :])
        assert str(path) in (refusal(path, "1d") or str(path))


class TestRealFiles:
    pytestmark = needs_data

    def test_daily_bars(self):
        feed = CsvFeed(path=DATA / "bars_1d/*.csv").build()
        frames = dict(feed.bars(["BTC", "SPY", "DXY", "GLD", "QQQ", "VIX"], "1d", EVER))
        assert len(frames["BTC"]) == 4328
        assert len(frames["VIX"]) == 9235
        assert "volume" not in frames["VIX"]
        assert frames["BTC"].iloc[0].tolist()[1:] == [
            465.864013671875, 468.17401123046875, 452.4219970703125, 457.3340148925781, 21056800,
        ]  # fmt: skip
        for frame in frames.values():
            assert frame["time"].is_monotonic_increasing
            assert np.isfinite(frame.iloc[:, 1:].to_numpy()).all()

    def test_hourly_bars(self):
        frame = read(DATA / "bars_1h/BTCUSDT.csv", "BTCUSDT", "1h")
        assert len(frame) == 55597
        assert stamps(frame)[0] == "2017-08-17T04:00"

    def test_five_minute_bars_are_stamped_at_their_close_in_shanghai(self):
        path = DATA / "bars_5min/XSHG_600977.csv"
        frame = read(path, "XSHG_600977", "5min", timezone="Asia/Shanghai", stamp="close")
        assert len(frame) == 2500
        local = frame["time"].dt.tz_convert("Asia/Shanghai").dt.strftime("%H:%M")
        assert (local.min(), local.max()) == ("09:35", "15:00")
        assert frame["amount"][0] == 427161
