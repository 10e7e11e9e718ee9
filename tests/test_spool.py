"""The spool, and the atomic files and safe names it rests on."""

from __future__ import annotations

import json
import os
import random
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronosfw.errors import StoreError
from kronosfw.files import safe_name, write_atomically
from kronosfw.store import Store, lacking, replay, spool

from .rows import AS_OF, DAY, done, evaluation, prediction, run_row, seen

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
TEXT = st.text(st.characters(exclude_categories=["C"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
CONTEXT = st.dictionaries(TEXT, JSON, max_size=3)
PREDICTIONS = st.lists(
    st.builds(
        prediction,
        step=st.integers(1, 10_000),
        symbol=TEXT,
        as_of=TIMES,
        target_time=TIMES,
        session=st.dates(),
        p50=NUMBERS,
        seed=st.integers(0, 2**63 - 1),
        quantiles=st.none() | CONTEXT,
        event_context=st.none() | CONTEXT,
    ),
    max_size=4,
    unique_by=lambda row: (row["symbol"], row["as_of"], row["step"]),
)
RUNS = st.builds(
    run_row,
    id=TEXT.filter(bool),
    started_at=TIMES,
    finished_at=st.none() | TIMES,
    manifest=CONTEXT,
    report=st.none() | CONTEXT,
)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@settings(max_examples=40, deadline=None)
@given(run=RUNS, predictions=PREDICTIONS)
def test_replay_is_as_if_the_store_had_been_up(
    tmp_path_factory: pytest.TempPathFactory, run: dict[str, object], predictions: list[dict[str, object]]
) -> None:
    work = [done(symbol=row["symbol"], as_of=row["as_of"], reason=run["id"]) for row in predictions]
    path = spool(tmp_path_factory.mktemp("spool"), run, predictions, work)
    with Store("sqlite://") as direct, Store("sqlite://") as late:
        direct.record(run, predictions, work=work)
        assert replay(path, late) == len(predictions)
        assert late.runs() == direct.runs()
        expected, found = direct.predictions(), late.predictions()
        for row in [*expected, *found]:
            del row["created_at"]
        assert found == expected
        for row in work:
            assert late.worked(row["as_of"], timeframe="1d") == direct.worked(row["as_of"], timeframe="1d")
        before = late.predictions()
        assert replay(path, late) == 0
        assert late.predictions() == before


def test_replay_after_the_store_came_back_keeps_scores(tmp_path: Path) -> None:
    path = spool(tmp_path / "new" / "spool", run_row(), [prediction(1), prediction(2)])
    with Store(f"sqlite:///{tmp_path / 'results.db'}") as store:
        store.record(run_row(), [prediction(1), prediction(2)])
        store.evaluate(seen(store, evaluation(1)))
        assert replay(path, store) == 0
        assert len(store.evaluations()) == 1


def test_replay_keeps_what_was_stored_since(tmp_path: Path) -> None:
    """The store came back and a later run stored corrected figures before the spooled ones were replayed."""
    now = datetime.now(UTC)
    path = spool(tmp_path / "spool", run_row(started_at=now - DAY), [prediction(1), prediction(2)])
    with Store(f"sqlite:///{tmp_path / 'results.db'}") as store:
        store.record(run_row(id="later", started_at=now), [prediction(1, p50=101.5)])
        assert replay(path, store) == 1
        assert [row["p50"] for row in store.predictions()] == [101.5, prediction(2)["p50"]]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Store(url) as store:
        yield store


class TestLateness:
    """Whatever comes when: what the run wrote that started last stands, and the ledger says of what it is."""

    EARLY, LATE = AS_OF - DAY, AS_OF

    def early(self, folder: Path, *work: dict[str, Any]) -> Path:
        run = run_row(id="early", started_at=self.EARLY)
        return spool(folder, run, [prediction(1, p50=1.0), prediction(2)], work)

    @staticmethod
    def inputs(store: Store) -> list[str]:
        return [row["inputs"] for row in store.worked(AS_OF, timeframe="1d")]

    def test_two_spooled_runs_in_their_order(self, store: Store, tmp_path: Path) -> None:
        first = self.early(tmp_path, done(inputs="early"))
        second = spool(tmp_path, run_row(started_at=self.LATE), [prediction(1, p50=2.0)], [done(inputs="late")])
        for _ in range(2):
            for path in (first, second):
                replay(path, store)
            assert [row["p50"] for row in store.predictions()] == [2.0, prediction(2)["p50"]]
            assert self.inputs(store) == ["late"]

    def test_the_later_one_first(self, store: Store, tmp_path: Path) -> None:
        store.record(run_row(started_at=self.LATE), [prediction(1, p50=2.0)], work=[done(inputs="late")])
        assert replay(self.early(tmp_path, done(inputs="early")), store) == 1
        assert [row["p50"] for row in store.predictions()] == [2.0, prediction(2)["p50"]]
        assert self.inputs(store) == ["late"]

    def test_what_was_replaced_is_done_no_more(self, store: Store, tmp_path: Path) -> None:
        """A spool of before there was a ledger says nothing of what it was made from."""
        started = self.EARLY - DAY
        others = done(symbol="other", inputs="others")
        store.record(run_row(started_at=started), [prediction(1)], work=[done(inputs="old"), others])
        replay(self.early(tmp_path), store)
        assert self.inputs(store) == ["others"]

    def test_what_stands_is_as_done_as_it_was(self, store: Store, tmp_path: Path) -> None:
        store.record(run_row(started_at=self.EARLY - DAY), [prediction(1, p50=1.0), prediction(2)], work=[done()])
        assert replay(self.early(tmp_path), store) == 0
        assert self.inputs(store) == [done()["inputs"]]

    def test_steps_that_the_later_run_left_as_they_were(self, store: Store, tmp_path: Path) -> None:
        """They bear the first run's name, and belong to the last one's work."""
        store.record(run_row(id="first", started_at=self.EARLY - DAY), [prediction(1), prediction(2)])
        rows = [prediction(1, p50=2.0), prediction(2)]
        store.record(run_row(started_at=self.LATE), rows, work=[done(inputs="late")])
        path = spool(tmp_path, run_row(id="x", started_at=self.EARLY), [prediction(2, p50=3.0)], [done(inputs="x")])
        assert replay(path, store) == 0
        assert [row["p50"] for row in store.predictions()] == [2.0, prediction(2)["p50"]]
        assert self.inputs(store) == ["late"]


def test_a_run_that_ended_is_not_put_back(tmp_path: Path) -> None:
    under_way = run_row(state="running", finished_at=None, report=None)
    folder = spool(tmp_path, under_way, [prediction(1)])
    spool(tmp_path, run_row(), [])
    with Store("sqlite://") as store:
        replay(parts(folder)[0], store)
        assert store.runs() == [under_way]
        replay(folder, store)
        for path in (parts(folder)[0], folder):
            replay(path, store)
            assert store.runs() == [run_row()]


def test_what_a_spooled_run_lacks(tmp_path: Path) -> None:
    under_way = run_row(state="running", finished_at=None)
    folder = spool(tmp_path, under_way, [prediction(1)])
    assert lacking(folder) == "was spooled before it ended"
    assert lacking(parts(folder)[0]) == ""
    spool(tmp_path, under_way, [])
    spool(tmp_path, run_row(), [])
    assert lacking(folder) == ""
    parts(folder)[1].unlink()
    assert lacking(folder) == "lacks 1 of its parts, the first of them number 1"


def test_two_processes_spool_at_once(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for part in range(10):
            spool(tmp_path, run_row(), [prediction(100 * number + part)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with Store("sqlite://") as store:
        assert replay(tmp_path / "a1b2", store) == 40


def test_one_folder_for_each_run(tmp_path: Path) -> None:
    first = spool(tmp_path, run_row(), [prediction(1)])
    assert spool(tmp_path, run_row(), [prediction(2)]) == first
    assert spool(tmp_path, run_row(), [prediction(3)]) == first
    assert [path.name[:5] for path in parts(first)] == ["00000", "00001", "00002"]
    assert spool(tmp_path, run_row(id="../x"), []).parent == tmp_path
    assert len(list(tmp_path.iterdir())) == 2


def test_parts_are_replayed_by_number(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    for number in (100_000, 7, 0):
        run = run_row(report={"part": number}, finished_at=None)
        (part,) = parts(spool(tmp_path / str(number), run, [prediction(number), prediction(number + 1)]))
        part.rename(folder / part.name.replace("00000", f"{number:05d}"))
    (folder / ".0123456789abcdef.tmp").write_text("what a crash left")
    with Store("sqlite://") as store:
        assert replay(folder, store) == 6
        assert store.runs()[0]["report"] == {"part": 100_000}
        assert replay(folder, store) == 0
        assert [row["step"] for row in store.predictions()] == [0, 1, 7, 8, 100_000, 100_001]


def test_one_part_alone(tmp_path: Path) -> None:
    for step in range(2):
        folder = spool(tmp_path, run_row(), [prediction(step)])
    with Store("sqlite://") as store:
        assert replay(parts(folder)[1], store) == 1
        assert replay(folder, store) == 1


def test_a_run_of_before_there_were_subjects(tmp_path: Path) -> None:
    run = run_row()
    del run["subject"]
    with Store("sqlite://") as store:
        replay(spool(tmp_path, run, []), store)
        assert store.runs() == [run | {"subject": None}]


def test_what_cannot_be_replayed(tmp_path: Path) -> None:
    absent, text, other = tmp_path / "absent.parquet", tmp_path / "text.parquet", tmp_path / "other.parquet"
    text.write_text("step,p50\n")
    pq.write_table(pa.table({"close": [1.0]}), other)
    empty = tmp_path / "empty"
    empty.mkdir()
    (torn,) = parts(spool(tmp_path, run_row(), [prediction()]))
    torn.write_bytes(torn.read_bytes()[:-100])
    with Store("sqlite://") as store:
        for path, said in (
            (absent, "cannot be read"),
            (text, "cannot be read"),
            (torn, "cannot be read"),
            (other, "not a spooled run"),
            (empty, "holds no part of a run"),
        ):
            with pytest.raises(StoreError, match=f"{path.name}: {said}"):
                replay(path, store)
        assert store.runs() == []


def rewritten(path: Path, run: dict[str, Any] | None = None, **changed: Any) -> Path:
    """Change what a part says of its run, or its columns."""
    table = pq.read_table(path, partitioning=None)
    for name, value in changed.items():
        cells = pa.array([value], table.schema.field(name).type)
        table = table.set_column(table.schema.get_field_index(name), name, cells)
    stated = json.loads(table.schema.metadata[b"kronosfw.run"])
    stated = {name: value for name, value in {**stated, **(run or {})}.items() if value is not ...}
    told = table.schema.metadata | {b"kronosfw.run": json.dumps(stated)}
    del told[b"kronosfw.sha256"]
    pq.write_table(table.replace_schema_metadata(told), path)
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {"run": {"manifest": ...}},
        {"run": {"started_at": ...}},
        {"run": {"started_at": None}},
        {"run": {"started_at": "2024-03-01T00:00:00"}},
        {"run": {"report": float("nan")}},
        {"p50": float("nan")},
        {"p50": None},
        {"as_of": None},
        {"quantiles": "{"},
        {"quantiles": "[Infinity]"},
    ],
    ids=str,
)
def test_a_spool_that_was_tampered_with(tmp_path: Path, changed: dict[str, Any]) -> None:
    (path,) = parts(spool(tmp_path, run_row(), [prediction()], [done()]))
    rewritten(path, **changed)
    with Store("sqlite://") as store, pytest.raises(StoreError, match="not what a run has spooled"):
        replay(path, store)


def test_a_bit_that_flipped(tmp_path: Path) -> None:
    """It is found, or it made no difference: Parquet says some things twice."""
    run, rows = run_row(finished_at=None), [prediction(step, p50=step / 7) for step in range(500)]
    (path,) = parts(spool(tmp_path, run, rows, [done(symbol=str(number)) for number in range(100)]))
    whole, chance, refused = path.read_bytes(), random.Random(5), 0
    with Store("sqlite://") as store:
        replay(path, store)
        work = store.worked(AS_OF, timeframe="1d")
        for _ in range(100):
            content = bytearray(whole)
            content[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
            path.write_bytes(content)
            try:
                assert replay(path, store) == 0
            except StoreError:
                refused += 1
            assert store.runs() == [run]
            assert store.worked(AS_OF, timeframe="1d") == work
    assert refused > 50


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="Not a directory"):
        spool(tmp_path / "file" / "spool", run_row(), [])


class TestWriteAtomically:
    def test_replaces_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"old content")
        write_atomically(path, lambda file: file.write(b"new"))
        assert path.read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [path]

    def test_failure_keeps_the_old_and_leaves_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"old")

        def fail(file: BinaryIO) -> None:
            file.write(b"half")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, fail)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_content_is_on_disk_before_the_name_and_the_name_before_the_return(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "x"
        seen: list[tuple[str, bool]] = []
        fsync = os.fsync

        def watched(handle: int) -> None:
            kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"file of {os.fstat(handle).st_size}"
            seen.append((kind, path.exists()))
            fsync(handle)

        monkeypatch.setattr(os, "fsync", watched)
        write_atomically(path, lambda file: file.write(b"12345"))
        assert seen == [("file of 5", False), ("folder", True)]

    def test_permissions_are_those_of_any_new_file(self, tmp_path: Path) -> None:
        write_atomically(tmp_path / "x", lambda file: file.write(b"1"))
        (tmp_path / "y").touch()
        assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode


class TestSafeName:
    @given(st.text(min_size=1, max_size=64))
    def test_is_one_plain_component(self, symbol: str) -> None:
        name = safe_name(symbol)
        assert len(name.encode()) <= 120
        assert "." not in name
        assert PurePosixPath(name).parts == PureWindowsPath(name).parts == (name,)

    @given(st.text(min_size=1, max_size=64), st.text(min_size=1, max_size=64))
    def test_differs_where_symbols_do(self, a: str, b: str) -> None:
        assert (safe_name(a) == safe_name(b)) == (a == b)

    def test_long_ones(self) -> None:
        long = "日" * 64
        assert safe_name(long) != safe_name(long[:-1] + "本")
        assert safe_name(safe_name(long)) != safe_name(long)

    def test_examples(self) -> None:
        names = ["BTC/USDT", "BRK.B", "..", "^GSPC", "EURUSD=X"]
        assert [safe_name(n) for n in names] == ["BTC%2FUSDT", "BRK%2EB", "%2E%2E", "%5EGSPC", "EURUSD%3DX"]

    def test_empty(self) -> None:
        with pytest.raises(ValueError, match="empty"):
            safe_name("")


def test_times_of_the_run_survive(tmp_path: Path) -> None:
    started = AS_OF + timedelta(microseconds=1)
    path = spool(tmp_path, run_row(started_at=started, finished_at=None), [])
    with Store("sqlite://") as store:
        replay(path, store)
        assert store.runs()[0]["started_at"] == started


def test_a_run_that_was_resumed_since_stays_as_it_is(tmp_path: Path) -> None:
    folder = spool(tmp_path, run_row(state="running", finished_at=None), [prediction(1)])
    later = run_row(started_at=AS_OF + DAY)
    with Store("sqlite://") as store:
        store.record(later, [prediction(1)])
        replay(folder, store)
        assert store.runs() == [later]
