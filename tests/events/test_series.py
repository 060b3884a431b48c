"""Files of any order, epoch and clock become the same series; what can only be a fault is refused by name."""

import gzip
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dreem_case.events import series_files
from dreem_case.events.clock import device_utc, iso_time, parse_stamps, utc_of_wall, wall_offsets, zone_of
from dreem_case.events.marks import read_diary, read_wrists, written_events
from dreem_case.events.metric import EventsError
from dreem_case.events.places import open_series
from dreem_case.events.series import Series, make_series
from dreem_case.events.series_files import NoSeries, read_series, series_in, write_series
from dreem_case.events.wear import worn_mask

WEST = -14400.0


def made(n=3000, epoch_s=5.0, **more):
    """A series of some hours."""
    random = np.random.default_rng(0)
    channels = {"enmo": random.exponential(0.03, n).round(4), "anglez": random.normal(0, 30, n).clip(-90, 90).round(4)}
    return make_series("made", 1.534275e9 + epoch_s * np.arange(n), channels | more, np.full(n, WEST))


def columns(series):
    """What a file of this series holds, as arrays that a test may change."""
    from dreem_case.events.series_files import columns_of

    return {key: np.array(values) for key, values in columns_of(series).items()}


def written(folder, table, name="made.parquet"):
    path = folder / name
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_series_that_is_written_is_read_again(tmp_path, kind):
    series = made()
    write_series(tmp_path / f"made.{kind}", series)
    again = read_series(tmp_path / f"made.{kind}")
    assert (again.name, again.epoch_s, again.start_s, len(again)) == ("made", 5.0, series.start_s, len(series))
    assert np.allclose(again.channels["anglez"], series.channels["anglez"], atol=1e-4)
    assert again.time_of(720) == "2018-08-14T16:30:00-04:00"


@given(st.integers(1, 120), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_any_epoch_and_any_order_give_the_same_grid(epoch_s, random):
    n = 400
    utc, values = 1.5e9 + epoch_s * np.arange(n), np.arange(n) % 89.0
    kept = np.array(sorted(random.sample(range(n), 350)) + [])
    order = np.array(random.sample(range(len(kept)), len(kept)))
    rows = kept[order]
    series = make_series("made", utc[rows], {"anglez": values[rows]}, np.full(len(rows), WEST))
    first = kept[0]
    assert series.epoch_s == epoch_s
    assert np.flatnonzero(series.observed).tolist() == (kept - first).tolist()
    assert np.array_equal(series.channels["anglez"][series.observed], values[kept].astype(np.float32))
    assert np.isnan(series.channels["anglez"][~series.observed]).all()


def changed(**new):
    def change(table):
        return table | {key: make(table) for key, make in new.items()}

    return change


BAD = {
    "radians": (changed(anglez=lambda t: np.deg2rad(t["anglez"])), "anglez in degrees"),
    "millionths of g": (changed(enmo=lambda t: t["enmo"] * 1e6), "enmo from 0 to 8"),
    "negative enmo": (changed(enmo=lambda t: -t["enmo"] - 0.01), "enmo from 0 to 8"),
    "no channel": (lambda t: {key: t[key] for key in ("series_id", "step", "timestamp")}, "a channel of movement"),
    "no time": (lambda t: {key: t[key] for key in ("series_id", "step", "enmo")}, "a column timestamp"),
    "no zone": (changed(timestamp=lambda t: np.array([s[:19] for s in t["timestamp"]])), "the wearer's time zone"),
    "no time stamp": (changed(timestamp=lambda t: np.append(t["timestamp"][:-1], "soon")), "time stamps such as"),
    "text for numbers": (changed(enmo=lambda t: t["enmo"].astype(str)), "numbers in enmo"),
    "a path": (changed(series_id=lambda t: np.full(len(t["step"]), "../../etc/passwd")), "a series name"),
    "two series": (changed(series_id=lambda t: np.where(t["step"] < 9, "a", "b")), "the name of one of the series"),
    "half an offset": (
        changed(timestamp=lambda t: np.append(t["timestamp"][:-1], t["timestamp"][-1][:19])), "an offset on every row",
    ),
    "all in UTC": (
        changed(timestamp=lambda t: np.array([s[:19] + "Z" for s in t["timestamp"]])), "the wearer's time zone",
    ),
    "a clock that was reset": (
        changed(timestamp=lambda t: np.append(t["timestamp"][:-1], "2000-01-01T00:00:00-0400")), "was a clock reset",
    ),
    "steps of rows that leave a gap out": (
        changed(timestamp=lambda t: np.append(t["timestamp"][:-1], "2018-08-15T15:30:00-0400")),
        "made: expected steps of 5 s by the time stamps, or no column step, found 2999 where 17280 is due",
    ),
    "steps of another length": (changed(step=lambda t: t["step"] // 6), "2 where 15 is due, and 2984 others"),
    "a moment twice, differently": (
        changed(timestamp=lambda t: np.append(t["timestamp"][:-1], t["timestamp"][5])), "1 that differ in",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=list(BAD))
def test_a_fault_is_refused_by_name(tmp_path, change, message):
    path = written(tmp_path, change(columns(made())))
    with pytest.raises(EventsError, match=message):
        read_series(path)


@pytest.mark.parametrize(("separator", "point", "encoding"), [
    (";", ",", "utf-8"), (";", ".", "utf-8-sig"), ("\t", ",", "utf-16"), ("\t", ".", "utf-8"),
])  # fmt: skip
def test_semicolons_or_tabs_between_columns_will_do(tmp_path, separator, point, encoding):
    table = pd.DataFrame(columns(series := made()))
    table.to_csv(tmp_path / "made.csv", sep=separator, decimal=point, encoding=encoding, index=False)
    again = read_series(tmp_path / "made.csv")
    assert (again.start_s, again.epoch_s, len(again)) == (series.start_s, 5, len(series))
    assert np.allclose(again.channels["anglez"], series.channels["anglez"], atol=1e-4)


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_lines_may_end_in_any_way(tmp_path, end):
    pd.DataFrame(columns(series := made())).to_csv(tmp_path / "made.csv", lineterminator=end, index=False)
    assert len(read_series(tmp_path / "made.csv")) == len(series)


def test_a_table_without_a_time_is_told_what_is_read_and_is_read_once(tmp_path, monkeypatch):
    reads, read = [], series_files._text
    monkeypatch.setattr(series_files, "_text", lambda path, stem: reads.append(stem) or read(path, stem))
    (tmp_path / "made.csv").write_text("when,enmo\n1,2\n", encoding="utf-8")
    with pytest.raises(EventsError, match=r"a column timestamp; or epochs as ActTrust, .*, found enmo in 'when,enmo'$"):
        read_series(tmp_path / "made.csv")
    assert reads == ["made"]
    path = written(tmp_path, {"when": [1.0], "enmo": [2.0]})
    with pytest.raises(EventsError, match=r"found enmo in 'when, enmo'$"):
        read_series(path)


@pytest.mark.parametrize("parts", [[(2000, 5), (150, 60)], [(150, 60), (2000, 5)], [(300, 60), (100, 5)]])
def test_an_epoch_that_changes_within_a_file_is_refused(parts):
    utc = 1.6e9 + np.cumsum(np.concatenate([np.full(n, float(step)) for n, step in parts]))
    with pytest.raises(EventsError, match=r"one epoch, here 5 s, found a part in steps of 60 s|regular epochs"):
        make_series("made", utc, {"enmo": np.arange(len(utc)) % 7 / 100}, np.zeros(len(utc)))


def test_rows_that_are_lost_here_and_there_are_a_gap():
    kept = np.random.default_rng(0).random(5000) < 0.6
    utc = 1.6e9 + 5.0 * np.flatnonzero(kept)
    series = make_series("made", utc, {"enmo": np.arange(len(utc)) % 7 / 100}, np.zeros(len(utc)))
    assert series.epoch_s == 5 and 0.5 < series.observed.mean() < 0.7


@pytest.mark.parametrize(("gaps", "found"), [
    ([59.9] * 6, None), ([60.1], "expected gaps of at most 60 days, found 60 days: was a clock reset"),
    ([59.9] * 7, "expected at most 400 days, found 420: was a clock reset"),
])  # fmt: skip
def test_gaps_up_to_sixty_days_are_read_and_more_is_a_clock_that_was_reset(gaps, found):
    steps = np.concatenate([np.append(np.full(200, 60.0), days * 86400) for days in gaps] + [[60.0]])
    utc = 1.5e9 + np.cumsum(steps)
    row = "made", utc, {"enmo": np.arange(len(utc)) % 7 / 100}, np.zeros(len(utc))
    if found:
        with pytest.raises(EventsError, match=found):
            make_series(*row)
    else:
        assert make_series(*row).observed.sum() == len(utc)


def test_rows_that_are_there_twice_are_dropped(tmp_path):
    table = {key: np.append(values, values[10:20]) for key, values in columns(made()).items()}
    assert len(read_series(written(tmp_path, table))) == 3000


def test_what_is_unusual_is_read_with_a_note():
    enmo = np.random.default_rng(0).exponential(0.03, 3000)
    enmo[5] = 11.4
    series = made(enmo=enmo, light=np.zeros(3000))
    assert np.isnan(series.channels["enmo"][5]) and "light" not in series.channels
    assert [note.split()[0] for note in series.notes] == ["enmo:", "light"]
    beyond = made(enmo=np.where(np.arange(3000) == 5, 1e99, enmo))
    assert np.isnan(beyond.channels["enmo"][5]) and beyond.notes == ("enmo: 1 values outside 0 to 8 left out",)
    gone = made(enmo=np.where(np.arange(3000) < 50, np.nan, 0.1 + np.arange(3000) % 3))
    assert np.isnan(gone.channels["enmo"]).sum() == 50


def test_thousandths_of_g_are_told_from_g_with_a_note(tmp_path):
    table = columns(made())
    series = read_series(written(tmp_path, table | {"enmo": table["enmo"] * 1000}))
    assert np.allclose(series.channels["enmo"], made().channels["enmo"], rtol=1e-5)
    assert [note[:37] for note in series.notes] == ["enmo is read in thousandths of g: in "]


def test_a_watch_on_a_table_is_a_series_without_movement():
    n = 3000
    series = make_series("still", 1.5e9 + 5 * np.arange(n), {"enmo": np.zeros(n), "anglez": np.full(n, 3)}, np.zeros(n))
    assert set(series.channels) == {"enmo", "anglez"}


def test_many_series_in_one_file_are_read_by_name(tmp_path):
    one = columns(made())
    two = one | {"series_id": np.full(3000, "other")}
    order = np.random.default_rng(0).permutation(6000)
    path = written(tmp_path, {key: np.append(one[key], two[key])[order] for key in one})
    assert sorted(series_in(path)) == ["made", "other"]
    assert [len(read_series(path, name)) for name in series_in(path)] == [3000, 3000]
    with pytest.raises(NoSeries, match=r"nobody: expected a series of made\.parquet, found none of this name"):
        read_series(path, "nobody")


def test_a_text_of_many_series_is_read_once_and_anew_when_it_changes(tmp_path, monkeypatch):
    path, reads = tmp_path / "many.csv", []
    read = series_files._text
    monkeypatch.setattr(series_files, "_text", lambda path, stem: reads.append(stem) or read(path, stem))
    for n, times in ((3000, 1), (2000, 2)):
        tables = [pd.DataFrame(columns(made(n)) | {"series_id": name}) for name in ("anna", "dora")]
        pd.concat(tables).to_csv(path, index=False)
        for name in ("anna", "dora"):
            assert len(open_series(str(path), name)) == n
        with pytest.raises(NoSeries, match="nobody"):
            open_series(str(path), "nobody")
        assert len(reads) == times


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.int64()])
def test_a_series_of_many_is_read_alone_whatever_its_name_is_kept_as(tmp_path, monkeypatch, kind):
    table = columns(made())
    ids = pa.array(np.where(np.arange(3000) < 2900, "7", "8"))
    ids = ids.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else ids.cast(kind)
    pq.write_table(pa.table(table | {"series_id": ids}), tmp_path / "many.parquet")
    monkeypatch.setattr(series_files, "MAX_ROWS", 200)
    assert series_in(tmp_path / "many.parquet") == ["7", "8"]
    assert len(read_series(tmp_path / "many.parquet", "8")) == 100
    with pytest.raises(EventsError, match="7: expected 1 to 200 rows, found 2900"):
        read_series(tmp_path / "many.parquet", "7")


def test_names_in_capitals_and_text_that_arrow_keeps_as_views_are_read(tmp_path):
    table = columns(made())
    views = {key: pa.array(table.pop(key)).cast(pa.string_view()) for key in ("series_id", "timestamp")}
    path = written(tmp_path, views | {"ENMO": table["enmo"]})
    assert series_in(path) == ["made"]
    for name in (None, "made"):
        assert np.allclose(read_series(path, name).channels["enmo"], made().channels["enmo"], atol=1e-4)


def test_a_text_may_be_compressed_if_it_is_whole(tmp_path):
    write_series(tmp_path / "made.csv", made())
    packed = gzip.compress((tmp_path / "made.csv").read_bytes())
    path = tmp_path / "one.CSV.gz"
    path.write_bytes(packed)
    assert len(read_series(path)) == 3000
    for wrong, found in ((packed[:-9], "another"), (packed * 2, "another"), (packed[:10] + b"\xff" * 9, "Error -3")):
        path.write_bytes(wrong)
        with pytest.raises(EventsError, match=f"^one: expected .*, found {found}"):
            read_series(path)


def test_a_small_file_that_unpacks_to_very_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("dreem_case.events.series_files.MAX_UNPACKED_BYTES", 1000)
    (tmp_path / "one.csv.gz").write_bytes(gzip.compress(bytes(100_000)))
    with pytest.raises(EventsError, match=r"^one: expected one whole gzip stream of at most 1000 bytes"):
        read_series(tmp_path / "one.csv.gz")


def test_midnight_is_read_where_r_leaves_it_out(tmp_path):
    times = [f"2018-08-14 23:59:{s}" for s in (50, 55)] + ["2018-08-15", "2018-08-15 00:00:05"]
    rows = "".join(f"{time},0.0{i}\n" for i, time in enumerate(times))
    (tmp_path / "one.csv").write_text(f"timestamp,ENMO\n{rows}", encoding="utf-8")
    series = read_series(tmp_path / "one.csv", zone="Europe/Berlin")
    assert (series.epoch_s, series.observed.tolist(), series.time_of(2)) == (5, [True] * 4, "2018-08-15T00:00:00+02:00")


def test_a_name_that_no_series_may_have_spoils_no_other_of_a_table(tmp_path):
    table = columns(made())
    path = written(tmp_path, table | {"series_id": np.where(np.arange(3000) < 100, "../x", "made")})
    assert series_in(path) == ["../x", "made"]
    assert len(read_series(path, "made")) == 2900
    with pytest.raises(EventsError, match="a series name"):
        read_series(path, "../x")


def test_columns_of_a_csv_are_known_in_capitals_too(tmp_path):
    head = "timestamp,anglez,{}\n"
    rows = "".join(f"2018-08-14T15:30:{i:02}-0400,{i},0.0{i % 7}\n" for i in range(0, 60, 5))
    for name, column in (("small", "enmo"), ("large", "ENMO")):
        (tmp_path / f"{name}.csv").write_text(head.format(column) + rows, encoding="utf-8")
    small, large = (read_series(tmp_path / f"{name}.csv").channels["enmo"] for name in ("small", "large"))
    assert small.tolist() == large.tolist()
    (tmp_path / "both.csv").write_text("timestamp,enmo,ENMO\n2018-08-14T15:30:00-0400,1,2\n", encoding="utf-8")
    with pytest.raises(EventsError, match="both: expected each column once, found enmo again"):
        read_series(tmp_path / "both.csv")


@pytest.mark.parametrize("name", ["made.csv", "made.txt"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, name):
    rows = "DATE/TIME;PIM;PIM\n28/08/2023 09:22:14;1;2\n"
    text = rows if name.endswith("txt") else rows.replace(";", ",").replace("DATE/TIME", "timestamp").lower()
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(EventsError, match="made: expected"):
        read_series(tmp_path / name, zone="Europe/Berlin")


@given(st.binary(max_size=200), st.sampled_from(["parquet", "csv", "txt"]))
@example(b"DATE/TIME;PIM", "txt")  # it ends within its line of names
@example(b"-- Created By ActiGraph\n\n\n----------\n1,2\n1,2\n", "csv")
@example(b"Date,Time,Axis1\n", "CSV")
@example(b"Line,Date,Time,Activity\n1,,,\n", "csv")
@example(b"\xff\xfe\x00", "csv")
@settings(max_examples=60)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    path.write_bytes(content)
    with pytest.raises(EventsError):
        read_series(path)


# ---- clocks

BERLIN = zone_of("made", "Europe/Berlin")
CHANGES = {"autumn": datetime(2023, 10, 28, 10, tzinfo=UTC), "spring": datetime(2024, 3, 30, 10, tzinfo=UTC)}


@pytest.mark.parametrize("season", CHANGES)
@pytest.mark.parametrize("epoch_s", [5, 60])
def test_a_clock_that_was_kept_and_one_that_followed_tell_the_same_moments(season, epoch_s):
    utc = CHANGES[season].timestamp() + np.arange(2 * 86400 // epoch_s) * float(epoch_s)
    offsets = wall_offsets(utc, BERLIN)
    for clock, way in ((utc + offsets[0], "kept"), (utc + offsets, "followed")):
        found, said = device_utc(clock, BERLIN)
        assert said == way
        assert np.array_equal(found, utc)


@pytest.mark.parametrize(("season", "followed"), [("autumn", False), ("spring", False), ("spring", True)])
def test_rows_of_a_clock_without_offsets_come_in_any_order(season, followed):
    utc = CHANGES[season].timestamp() + np.arange(2880) * 60.0
    offsets = wall_offsets(utc, BERLIN)
    order = np.append(0, 1 + np.random.default_rng(0).permutation(2879))
    found, _ = device_utc((utc + (offsets if followed else offsets[0]))[order], BERLIN)
    assert np.array_equal(found, utc[order])


def test_a_clock_that_followed_two_changes_is_followed_through_both():
    utc = CHANGES["autumn"].timestamp() + np.arange(200 * 1440) * 60.0
    found, said = device_utc(utc + wall_offsets(utc, BERLIN), BERLIN)
    assert said == "followed"
    assert np.array_equal(found, utc)


def test_a_gap_that_hides_what_a_clock_did_is_told():
    utc = CHANGES["autumn"].timestamp() + np.arange(2880) * 60.0
    utc = np.delete(utc, np.arange(600, 1400))
    assert "unless a gap hides" in device_utc(utc + wall_offsets(utc, BERLIN), BERLIN)[1]


def test_offsets_that_change_within_a_file_are_followed(tmp_path):
    utc = datetime(2018, 11, 4, 4, tzinfo=UTC).timestamp() + 5.0 * np.arange(2880)
    zone = zone_of("made", "America/New_York")
    stamps = [iso_time(t, o) for t, o in zip(utc, wall_offsets(utc, zone), strict=True)]
    enmo = np.random.default_rng(0).exponential(0.03, 2880)
    series = read_series(written(tmp_path, {"series_id": ["made"] * 2880, "timestamp": stamps, "enmo": enmo}))
    assert series.observed.all() and len(series) == 2880
    assert (series.time_of(1439), series.time_of(1440)) == ("2018-11-04T01:59:55-04:00", "2018-11-04T01:00:00-05:00")


@pytest.mark.parametrize(("first", "zone", "notes"), [
    ("2023-10-28T12:00:00+0200", None, 1), ("2023-10-28T12:00:00+0200", "Europe/Berlin", 0),
    ("2023-10-28T12:00:00+0530", None, 0), ("2023-09-28T12:00:00+0200", None, 0),
])  # fmt: skip
def test_an_offset_that_stays_through_a_change_of_clocks_is_told(tmp_path, first, zone, notes):
    start = datetime.fromisoformat(first)
    stamps = [(start + timedelta(minutes=i)).isoformat() for i in range(2880)]
    enmo = np.random.default_rng(0).exponential(0.03, 2880)
    series = read_series(written(tmp_path, {"timestamp": stamps, "enmo": enmo}), zone=zone)
    assert sum("+02:00 where clocks in Europe/Berlin" in note for note in series.notes) == len(series.notes) == notes


@pytest.mark.parametrize("kept_as", ["text", "a type"])
def test_a_zone_decides_against_the_offset_of_a_file_and_says_so(tmp_path, kept_as):
    table = columns(made())
    if kept_as == "a type":
        utc = (1.534275e9 + 5 * np.arange(3000)).astype(np.int64)
        table["timestamp"] = pa.array(utc, pa.timestamp("s", "America/New_York"))
    path = written(tmp_path, table)
    for zone, time, notes in [
        (None, "2018-08-14T15:30:00-04:00", ()), ("America/Toronto", "2018-08-14T15:30:00-04:00", ()),
        ("Europe/Berlin", "2018-08-14T21:30:00+02:00",
         ("its file has another offset, -04:00, than Europe/Berlin, which decides",)),
    ]:  # fmt: skip
        series = read_series(path, zone=zone)
        assert (series.time_of(0), series.notes) == (time, notes)


def test_times_in_utc_alone_say_nothing_of_the_wearers_clock(tmp_path):
    times = pa.array(np.arange(500) * 60_000_000 + 1_600_000_000_000_000, pa.timestamp("us", "UTC"))
    path = written(tmp_path, {"timestamp": times, "pim": np.arange(500) % 7})
    with pytest.raises(EventsError, match="times in UTC"):
        read_series(path)
    assert read_series(path, zone="Asia/Tokyo").time_of(0) == "2020-09-13T21:26:40+09:00"


def test_zones_are_known_on_a_machine_that_has_no_table_of_them():
    code = "from dreem_case.events.clock import zone_of; zone_of('judge00', 'Europe/Berlin')"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONTZPATH": ""}, check=True)


@pytest.mark.parametrize("zone", ["UTC", "GMT", "Etc/GMT", "Z", "+00:00"])
def test_utc_by_another_name_is_utc(tmp_path, zone):
    times = pa.array(np.arange(500) * 60 + 1_600_000_000).cast(pa.timestamp("s", zone))
    with pytest.raises(EventsError, match="times in UTC"):
        read_series(written(tmp_path, {"timestamp": times, "pim": np.arange(500) % 7}))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_column_of_times_of_any_unit_with_an_offset_is_read(tmp_path, unit):
    times = (1_600_000_000 + 60 * np.arange(500)) * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    column = pa.array(times + (unit == "ns")).cast(pa.timestamp(unit, "+05:45"))
    series = read_series(written(tmp_path, {"timestamp": column, "pim": np.arange(500) % 7}))
    assert (series.time_of(0), series.epoch_s, len(series)) == ("2020-09-13T18:11:40+05:45", 60, 500)


@pytest.mark.parametrize("never", ["0001-01-01 00:00:00", "9999-12-31 23:59:59"])
def test_a_clock_that_was_never_set_is_refused_at_once(tmp_path, never):
    rows = [f"2018-08-14 15:{i:02}:00,0.01" for i in range(60)] + [f"{never},0.02"]
    (tmp_path / "made.csv").write_text("\n".join(["timestamp,enmo", *rows]), encoding="utf-8")
    with pytest.raises(EventsError, match="times from 1970 to 2100, found 1 others, first in row 61"):
        read_series(tmp_path / "made.csv", zone="Europe/Berlin")


@given(st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)), st.sampled_from(["", "Z", "-0400", "+05:30", ".250"]))
def test_stamps_are_read_as_the_standard_library_reads_them(moment, end):
    text = moment.replace(microsecond=0).isoformat() + end
    expected = datetime.fromisoformat(text)
    seconds, offset = parse_stamps("made", np.array([text.encode()]))
    assert seconds[0] == expected.replace(tzinfo=UTC).timestamp()
    assert expected.tzinfo is None or offset[0] == expected.utcoffset().total_seconds()


@pytest.mark.parametrize("wrong", [
    "2018-13-05T10:00:00", "2018-00-05T10:00:00", "2018-02-29T10:00:00", "2018-04-31T10:00:00", "2018-01-00T10:00:00",
    "2018-01-05T24:00:00", "2018-01-05T10:60:00", "2018-01-05T10:00:60", "0000-01-05T10:00:00", "2018-01-05x10:00:00",
    "2018-01-05T10.00.00", "2018-01-05T10:00:00 CET", "2018-01-05", "",
])
def test_a_stamp_that_no_calendar_and_no_clock_has_is_refused_by_name(wrong):
    with pytest.raises(EventsError, match="time stamps such as .* found '" + wrong + "' and 0 others"):
        parse_stamps("made", np.array([b"2018-01-05T10:00:00", wrong.encode()]))


@pytest.mark.parametrize("first_day", [3, 20])
def test_a_month_before_the_day_is_not_taken_for_a_day(first_day):
    days = [datetime(2018, 2, first_day + i // 24, i % 24) for i in range(7 * 24)]
    seconds, _ = parse_stamps("made", np.array([day.strftime("%d/%m/%Y %H:%M:%S").encode() for day in days]))
    assert np.ptp(seconds) < 7 * 86400
    with pytest.raises(EventsError, match="the day first"):
        parse_stamps("made", np.array([day.strftime("%m/%d/%Y %H:%M:%S").encode() for day in days]))


@given(st.integers(1_600_000_000, 1_700_000_000))
def test_the_wall_is_undone_except_in_the_hour_that_is_there_twice(utc):
    wall = utc + wall_offsets(np.array([float(utc)]), BERLIN)
    back = utc_of_wall(wall, BERLIN)
    assert abs(back[0] - utc) in (0, 3600)
    assert back[0] + wall_offsets(back, BERLIN)[0] == wall[0]


# ---- the device's own files


def test_a_devices_text_and_the_table_of_it_are_the_same_series(real_data):
    (path,) = (real_data / "wrist_diary").glob("*.txt")
    text = read_series(path, zone="Europe/Berlin")
    table = read_wrists(real_data / "wrist_diary")["205"]
    assert (text.start_s, len(text), text.epoch_s) == (table.start_s, len(table), 60)
    for key in ("pim", "zcm", "temperature"):
        assert np.allclose(text.channels[key], table.channels[key], equal_nan=True)
    assert text.notes == ("the device's clock was kept",)


ACTILIFE = """------------ Data File Created By ActiGraph GT3X+ ActiLife v6.13.3 Firmware v2.5.0 date format {form} Filter Normal -----------
Serial Number: MOS2D00000000
Start Time 10:00:00
Start Date {start}
Epoch Period (hh:mm:ss) {epoch}
Download Time 12:00:00
Download Date {end}
Current Memory Address: 0
Current Battery Voltage: 4.21     Mode = 61
--------------------------------------------------
"""  # noqa: E501
AXES = "".join(f"{i % 5},{i % 7},0,1,{i % 90}\n" for i in range(600))


def clock(i, hours=24):
    """Give the day and the time of a row, as ActiLife does, by a clock of so many hours."""
    return f"6/20/2012,{(9 + i // 60) % hours + 1}:{i % 60:02}:00"


def actilife(path, rows=AXES, form="M/d/yyyy", start="6/20/2012", end="6/27/2012", epoch="00:01:00", gone="nothing"):
    """Write an export of ActiLife, without the lines that begin with some text."""
    lines = (ACTILIFE.format(form=form, start=start, end=end, epoch=epoch) + rows).splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(gone)), encoding="utf-8")
    return path


@pytest.mark.parametrize(("form", "start", "end"), [
    ("M/d/yyyy", "6/2/2012", "6/9/2012"), ("d/M/yyyy", "2/6/2012", "9/6/2012"),
    ("dd.MM.yyyy", "02.06.2012", "09.06.2012"), ("yyyy-MM-dd", "2012-06-02", "2012-06-09"),
    ("M/d/yy", "6/2/12", "6/9/12"),
])  # fmt: skip
def test_actilife_tells_when_the_first_row_begins_and_in_which_format(tmp_path, form, start, end):
    path = actilife(tmp_path / "one (2012-06-02)60sec.csv", form=form, start=start, end=end)
    series = read_series(path, zone="America/New_York")
    assert (series.time_of(0), series.epoch_s, len(series)) == ("2012-06-02T10:00:00-04:00", 60, 600)
    assert np.allclose(series.channels["pim"][:4], np.hypot(np.arange(4), np.arange(4)))
    with pytest.raises(EventsError, match=r"one \(2012-06-02\)60sec: expected the wearer's time zone"):
        read_series(path)


@pytest.mark.parametrize("change", [
    lambda rows: "Axis1,Axis2,Axis3,Steps,Lux\n" + rows,
    lambda rows: "\n" + '"Axis1","Axis2","Axis3","Steps","Lux"\n' + rows,
    lambda rows: "Axis1;Axis2;Axis3;Steps;Lux\n" + rows.replace(",", ";"),
    lambda rows: "".join(f"{clock(i)},{row}\n" for i, row in enumerate(rows.split())),
    lambda rows: "Date,Time,Axis1,Axis2,Axis3,Steps,Lux\n"
    + "".join(f"{clock(i, 12)} {'AP'[i > 119]}M,{row}\n" for i, row in enumerate(rows.split())),
])  # fmt: skip
def test_actilifes_rows_are_the_same_series_with_names_and_times_and_without(tmp_path, change):
    plain = read_series(actilife(tmp_path / "one.csv"), zone="America/New_York")
    other = read_series(actilife(tmp_path / "two.csv", change(AXES)), zone="America/New_York")
    assert (other.start_s, other.epoch_s, len(other)) == (plain.start_s, plain.epoch_s, len(plain))
    for key in {"pim"} | set(other.channels):
        assert np.array_equal(other.channels[key], plain.channels[key] if key == "pim" else np.arange(600) % 90)


CLOCK = "Date,Time,Axis1\n" + "".join(f"6/20/2012,10:{i:02}:00,{i % 5}\n" for i in range(60))


@pytest.mark.parametrize(("change", "message"), [
    ({"epoch": "00:00:00"}, "counts by epochs of 1 to 120 s, not raw acceleration, found an epoch of 00:00:00"),
    ({"epoch": "9" * 30}, "counts by epochs of 1 to 120 s, not raw acceleration, found an epoch of 9{20}$"),
    ({"epoch": "00:00:10", "rows": CLOCK}, "rows of 10 s, as the header says, found rows of 60 s"),
    ({"end": "6/18/2012"}, "rows that end before the download, 6/18/2012 12:00:00, found 600 of 60 s from 6/20/2012"),
    ({"start": "20/6/2012"}, "dates all as M/d/yyyy, found '20/6/2012'"),
    ({"start": "2/30/2012"}, "dates all as M/d/yyyy, found '2/30/2012'"),
    ({"start": "6/20/" + "9" * 25}, "dates all as M/d/yyyy, found '6/20/9{25}'"),
    ({"form": "d/M/\x1b[31myyyy"}, r"dates all as d/M/\\x1b\[31myyyy, found '6/20/2012'"),
    ({"gone": "Start Time"}, "a header that says when rows begin, found Start Date 6/20/2012, Start Time none"),
    ({"gone": "Epoch"}, "a header that says when rows begin, found .* epoch none"),
    ({"rows": "Foo,Bar\n1,2\n"}, "epochs as ActTrust, ActiLife, .* write them, found no column that is known"),
    ({"rows": CLOCK.replace("10:59:00", "25:59:00")}, "times as 22:30:00 or 10:30:00 PM, found '25:59:00'"),
    ({"rows": AXES + "1,2\n"}, "a table that can be read, found CSV parse error: Expected 5 columns, got 2"),
])  # fmt: skip
def test_an_export_of_actilife_that_contradicts_itself_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(EventsError, match=f"^one: expected .*{message}"):
        read_series(actilife(tmp_path / "one.csv", **change), zone="America/New_York")


def actiware(path, days=("04/07/2015", "05/07/2015"), epoch_s=60, said_s=60, encoding="utf-8", off=range(0), end=","):
    """Write an export of Actiware of two days, with the list of markers that stands before the epochs."""
    names = '"Line","Date","Time"{},"Activity","Marker","White Light","Sleep/Wake","Interval Status"' + end + "\n\n"
    rows = [(day, s) for day in days for s in range(0, 86400, epoch_s)]
    text = f'"Actiware Export File (Version 05.00 )"\n"Epoch Length:","{said_s}","seconds",""\n'
    text += '"Line","Date","Time","Marker","Interval Status",\n\n"1","04/07/2015","21:00:00","Marker!","ACTIVE",\n'
    text += names.format(',"Off-Wrist Status"' * bool(off))
    for i, (day, s) in enumerate(rows):
        own, counts = f'"{int(i in off)}",' * bool(off), "NaN" if i == 7 else "" if i == 8 else i % 90
        clock = f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}"
        text += f'"{i + 1}","{day}","{clock}",{own}"{counts}","0","{i % 50}.01","NaN","ACTIVE"{end}\n'
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(("days", "first"), [
    (("04/07/2015", "05/07/2015"), "2015-07-04"), (("4/12/2015", "4/13/2015"), "2015-04-12"),
    (("2015-07-04", "2015-07-05"), "2015-07-04"), (("31.12.2015", "01.01.2016"), "2015-12-31"),
])  # fmt: skip
def test_actiwares_epochs_are_read_in_the_order_of_day_and_month_that_can_be(tmp_path, days, first):
    series = read_series(actiware(tmp_path / "one.csv", days), zone="UTC")
    assert (series.time_of(0), series.epoch_s, len(series)) == (f"{first}T00:00:00+00:00", 60, 2880)
    assert np.isnan(series.channels["pim"]).nonzero()[0].tolist() == [7, 8]
    assert set(series.channels) == {"pim", "light"}


@pytest.mark.parametrize("how", [{"encoding": "utf-16"}, {"encoding": "utf-8-sig"}, {"end": ""}])
def test_actiwares_file_is_the_same_in_any_encoding(tmp_path, how):
    one, two = (read_series(actiware(tmp_path / f"{i}.CSV", **more), zone="UTC") for i, more in enumerate(({}, how)))
    assert one.start_s == two.start_s and np.array_equal(one.channels["pim"], two.channels["pim"], equal_nan=True)


@pytest.mark.parametrize(("line", "none"), [
    ("Line;Date;Time;Off-Wrist Status;Activity;Marker;White Light;Sleep/Wake;Interval Status", "NaN"),
    ("Ligne;Date;Heure;;Activité;Marqueur;Lumière blanche;Sommeil/Éveil;Statut de l’intervalle", "NAN"),
    ("Zeile;Datum;Zeit;Status „Nicht am Handgelenk“;Aktivität;Markierung;Weißes Licht;Schlaf/Wach;", "kZ"),
    ("Linea;Data;Ora;Stato fuori polso;Attività;Indicatore;Luce bianca;Sonno/veglia;Stato intervallo", "NaN"),
])  # fmt: skip
@pytest.mark.parametrize("separator", [";", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_actiwares_columns_are_known_in_its_languages(tmp_path, line, none, separator, encoding):
    plain = actiware(tmp_path / "one.csv", off=range(9))
    text, names = plain.read_text(encoding="utf-8"), separator.join(f'"{name}"' for name in line.split(";"))
    begin = text.index('"Line"', text.index('"Off-Wrist') - 30)
    rows = text[text.index("\n", begin) :].replace(",", separator).replace('.01"', ',01"').replace("NaN", none)
    (tmp_path / "two.csv").write_text(text[:begin] + names + separator + rows, encoding=encoding)
    one, two = (read_series(tmp_path / f"{name}.csv", zone="UTC") for name in ("one", "two"))
    for key in ("pim", "light"):
        assert np.array_equal(one.channels[key][9:], two.channels[key][9:], equal_nan=True)


def test_a_comma_that_parts_thousands_is_not_taken_for_a_point(tmp_path):
    text = actiware(tmp_path / "one.csv").read_text(encoding="utf-8").replace(".01", "").replace('"89"', '"1,089"')
    (tmp_path / "one.csv").write_text(text, encoding="utf-8")
    with pytest.raises(EventsError, match=r"a table that can be read, found .*'1,089'"):
        read_series(tmp_path / "one.csv", zone="UTC")


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_acttrusts_columns_may_have_been_saved_anew(tmp_path, separator):
    rows = "".join(f"28/08/2023 09:{i:02}:14;0;{i % 7};3{i % 9}\n" for i in range(60))
    text = f"SUBJECT_NAME : José\nDATE/TIME;MS;PIM;TEMPERATURE\n{rows}".replace(";", separator)
    (tmp_path / "one.txt").write_text(text, encoding="latin-1")
    series = read_series(tmp_path / "one.txt", zone="Europe/Berlin")
    assert series.channels["pim"].tolist() == [i % 7 for i in range(60)] and "temperature" in series.channels


def test_what_actiware_says_was_off_the_wrist_is_not_worn(tmp_path):
    series = read_series(actiware(tmp_path / "one.csv", off=range(1000, 1360)), zone="UTC")
    assert np.flatnonzero(~worn_mask(series)).tolist() == [7, 8, *range(1000, 1360)]
    assert "off the wrist by the device's word: 12.5 % of rows" in series.notes


@pytest.mark.parametrize(("change", "message"), [
    ({"said_s": 30}, "rows of 30 s, as the header says, found rows of 60 s"),
    ({"days": ("04/07/2015",)}, "dates that tell the day from the month, found '04/07/2015'"),
    ({"days": ("04/07/2015", "05/32/2015")}, "dates all as 2018-08-14, 14/08/2018 or 8/14/2018, found '05/32/2015'"),
    ({"days": ("04/07/15", "05/07/15")}, "dates all as 2018-08-14, 14/08/2018 or 8/14/2018, found '04/07/15'"),
    ({"days": ("30/06/2015", "06/30/2015")}, "dates all as 2018-08-14, 14/08/2018 or 8/14/2018, found '06/30/2015'"),
])  # fmt: skip
def test_an_export_of_actiware_that_contradicts_itself_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(EventsError, match=f"^one: expected {message}"):
        read_series(actiware(tmp_path / "one.csv", **change), zone="UTC")


def actiwatch(path, code=" 4 ", device="V664055", day="28-Aug-2023", row="{} M\n"):
    head = ["Name", day, "09:14", code, "31", device, "F"]
    path.write_text("\n".join(head) + "\n" + "".join(row.format(i % 7, i % 9) for i in range(300)), encoding="utf-8")
    return path


@pytest.mark.parametrize(("row", "device", "beside"), [
    ("{}\n", "V664055", None), ("{} M\r\n", "v664055", None), ("{} , {}.50\n", "D0309360327", "light"),
    ("{} , {}.50 M\n", "P1", "light"), ("{} , {}.50\r\n", "T12", "temperature"), ("{} , {}.50\n", "S12", None),
])  # fmt: skip
def test_an_actiwatchs_counts_are_read_with_what_its_letter_says_is_beside_them(tmp_path, row, device, beside):
    series = read_series(actiwatch(tmp_path / "one.AWD", row=row, device=device), zone="Europe/Berlin")
    assert (series.time_of(0), series.epoch_s, len(series)) == ("2023-08-28T09:14:00+02:00", 60, 300)
    assert series.channels["pim"].tolist() == [i % 7 for i in range(300)]
    assert set(series.channels) == {"pim", beside} - {None}
    assert beside is None or series.channels[beside].tolist() == [i % 9 + 0.5 for i in range(300)]


@pytest.mark.parametrize(("code", "epoch_s"), [("1", 15), ("2", 30), ("8", 120), ("81", 2), ("C1", 5), ("c2", 10)])
def test_an_actiwatchs_code_tells_its_epoch(tmp_path, code, epoch_s):
    assert read_series(actiwatch(tmp_path / "one.awd", code), zone="UTC").epoch_s == epoch_s


@pytest.mark.parametrize(("change", "message"), [
    ({"code": " 0 "}, "a name, a day as 17-Nov-2009, .* one of 1, 2, 4, 8, 20, 81, C1, C2, found 'Name, 28-Aug-2023,"),
    ({"day": "28-Foo-2023"}, "a name, a day as 17-Nov-2009"), ({"day": "32-Aug-2023"}, "dates all as"),
    ({"code": "20"}, "counts by epochs of 1 to 120 s"), ({"row": "{} X\n"}, "a table that can be read"),
])  # fmt: skip
def test_an_actiwatchs_file_that_does_not_say_when_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(EventsError, match=f"^one: expected {message}"):
        read_series(actiwatch(tmp_path / "one.awd", **change), zone="UTC")


def test_geneactivs_epochs_of_three_axes_are_an_angle(tmp_path):
    head = "Device Type,GENEActiv\nDevice Model,1.1\nCalibration Date,2012-01-01 12:00:00:000\n" + "\n" * 96
    tilt = np.radians(np.arange(600) % 170 - 85)
    rows = (
        f"2012-05-22 {i // 60:02}:{i % 60:02}:20:500,{np.cos(a):.4f},0,{np.sin(a):.4f},{i % 9},0,3{i % 5}.1,2\n"
        for i, a in enumerate(tilt)
    )
    (tmp_path / "one.csv").write_text(head + "".join(rows), encoding="utf-8")
    series = read_series(tmp_path / "one.csv", zone="Europe/London")
    assert (series.time_of(0), series.epoch_s, len(series)) == ("2012-05-22T00:00:20+01:00", 60, 600)
    assert set(series.channels) == {"anglez", "light", "temperature"}
    assert np.allclose(series.channels["anglez"], np.degrees(tilt), atol=0.05)


@pytest.mark.parametrize(("names", "end"), [
    ("time,acc,imputed", "+0100 [Europe/London],{mg},{off}"), ("Time, Mean SVM (g)", ",{g}"),
])  # fmt: skip
def test_tables_of_programs_for_axivitys_watch_are_movement(tmp_path, names, end):
    rows = (f"2014-05-07 {i // 120:02}:{i // 2 % 60:02}:{i % 2 * 30:02}.430000" + end.format(
        mg=i % 8, g=i % 8 / 1000, off=int(i >= 900)) for i in range(1000))  # fmt: skip
    (tmp_path / "one.csv").write_text(names + "\n" + "\n".join(rows), encoding="utf-8")
    series = read_series(tmp_path / "one.csv", zone=None if "[" in end else "Europe/London")
    assert (series.time_of(0), series.epoch_s, list(series.channels)) == ("2014-05-07T00:00:00+01:00", 30, ["enmo"])
    worn = 900 if "off" in end else 1000
    assert np.allclose(series.channels["enmo"][:worn], np.arange(worn) % 8 / 1000)  # so little is no sign of g
    assert np.isnan(series.channels["enmo"][worn:]).all()


@pytest.mark.parametrize("begin", ["0", "13.5"])
def test_the_first_line_of_the_uk_biobank_says_when_rows_begin(tmp_path, begin):
    span = "2014-05-07 13:29:50 - 2014-05-07 13:34:45"
    rows = "".join(f"{i if i else begin},{int(i > 50)}\n" for i in range(60))
    path, line = tmp_path / "1_90004_0_0.csv", f"acceleration (mg) - {span} - sampleRate = 5 seconds,imputed\n"
    path.write_text(line + rows, encoding="utf-8")
    series = read_series(path, zone="Europe/London")
    assert (series.time_of(0), series.epoch_s, len(series)) == ("2014-05-07T13:29:50+01:00", 5, 60)
    assert np.isclose(series.channels["enmo"][:3], [float(begin) / 1000, 0.001, 0.002]).all()
    assert np.isnan(series.channels["enmo"]).nonzero()[0].tolist() == [*range(51, 60)]
    path.write_text(line.replace("2014-05-07 13:29:50", "soon") + rows, encoding="utf-8")
    with pytest.raises(EventsError, match="a header that says when rows begin"):
        read_series(path, zone="Europe/London")


@pytest.mark.parametrize(("name", "end"), [("time", "Z"), ("timestamp", "")])
def test_tables_of_rs_packages_of_counts_are_read(tmp_path, name, end):
    rows = "".join(f"2012-06-20T00:{i:02}:00{end},3,4,{i % 2}\n" for i in range(60))
    (tmp_path / "one.csv").write_text(f'"{name}","Axis1","Axis2","Axis3"\n{rows}', encoding="utf-8")
    series = read_series(tmp_path / "one.csv", zone="Europe/London")
    assert series.time_of(0) == f"2012-06-20T0{int(bool(end))}:00:00+01:00"
    assert np.allclose(series.channels["pim"][:2], [5, np.sqrt(26)])


@pytest.mark.parametrize("time", [None, datetime(9999, 12, 31)])
def test_a_wrist_without_a_time_that_can_be_is_refused(tmp_path, time):
    times = pa.array([time, *[datetime(2023, 8, 14, 9, minute) for minute in range(59)]], pa.timestamp("ms"))
    written(tmp_path, {"wearer": [1] * 60, "device_time": times, "pim": range(60)}, "wrist.parquet")
    with pytest.raises(EventsError, match="times from 1970 to 2100, found 1 others, first in row 1"):
        read_wrists(tmp_path)


@pytest.mark.parametrize("column", ["device_time", "pim"])
def test_a_wrist_with_words_for_times_or_numbers_is_refused(tmp_path, column):
    times = np.datetime64("2023-08-14T12:00:00", "ms") + np.arange(60) * np.timedelta64(60_000, "ms")
    table = {"wearer": ["a"] * 60, "device_time": times, "pim": range(60), column: ["late"] * 60}
    written(tmp_path, table, "wrist.parquet")
    with pytest.raises(EventsError, match=r"^wrist\.parquet: expected times and numbers, found .*late"):
        read_wrists(tmp_path)


def test_a_wrist_whose_device_time_has_a_zone_is_refused(tmp_path):
    times = pa.array([datetime(2023, 8, 14, 9, minute) for minute in range(60)], pa.timestamp("ms", "UTC"))
    written(tmp_path, {"wearer": ["a"] * 60, "device_time": times, "pim": range(60)}, "wrist.parquet")
    with pytest.raises(EventsError, match="as the device's own clock, without a zone, found 'UTC'"):
        read_wrists(tmp_path)


def test_what_is_written_is_read_by_the_clock_that_the_wearer_had_then():
    at = np.arange(600)  # minutes from midnight; at 3 in the morning the clock is put back to 2
    start_s, offset_s = 1_698_530_400.0, np.where(at < 180, 7200.0, 3600.0)
    series = Series("a", 60.0, start_s, offset_s, np.ones(600, bool), {"pim": at.astype(np.float32)})
    nights = [
        ("2023-10-28 23:00", "2023-10-29 01:00"),
        ("2023-10-29 02:30", "2023-10-29 05:00"),  # of two such times the first
        ("2023-10-29T02:30:00+0100", "2023-10-29 12:00"),
    ]
    found = written_events(nights, series)
    assert (found.step / 720).tolist() == [-1, 1, 2.5, 6, 3.5, 13]  # hours
    assert found.event.tolist() == ["onset", "wakeup"] * 3


def test_the_clock_of_a_wrist_with_a_diary_is_read_in_the_zone_that_is_asked_for(tmp_path):
    times = np.datetime64("2023-08-14T12:00:00", "ms") + np.arange(300) * np.timedelta64(60_000, "ms")
    table = {"wearer": ["a"] * len(times), "device_time": times, "pim": np.arange(len(times)) % 97}
    pq.write_table(pa.table(table), tmp_path / "wrist.parquet")
    (tmp_path / "diary.csv").write_text("wearer,onset,wakeup\na,2023-08-14 13:00,2023-08-14 14:00\n"
                                        "b,2023-08-14 13:00,2023-08-14 14:00\n")  # who has no recording
    near, far = (read_wrists(tmp_path, zone) for zone in ("Europe/Berlin", "America/New_York"))
    assert far["a"].start_s - near["a"].start_s == 6 * 3600
    assert read_diary(tmp_path, near).step.tolist() == read_diary(tmp_path, far).step.tolist() == [720, 1440]


def test_a_wrist_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "wrist.parquet").write_bytes(b"PAR1")
    with pytest.raises(EventsError, match="a table that can be read"):
        read_wrists(tmp_path)


def test_the_diary_lies_within_the_recordings(real_data):
    wrists = read_wrists(real_data / "wrist_diary")
    diary = read_diary(real_data / "wrist_diary", wrists)
    assert len(diary) == 208
    ends = np.array([wrists[name].step_of(wrists[name].utc[-1]) for name in diary.series])
    assert ((diary.step > 0) & (diary.step < ends)).all()
