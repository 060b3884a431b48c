"""Records are read whole or refused by name; the table of 187 samples is the published one."""

import contextlib
import re

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.ecg.cli import ecg
from dreem_case.ecg.places import list_records
from dreem_case.ecg.recording import EcgError, Recording, class_of, make_beats, make_recording
from dreem_case.ecg.simulate import write_records
from dreem_case.ecg.wfdb_files import (
    _wfdb,
    annotation_bytes,
    decode,
    encode,
    flutter_in,
    heartbeat_rows,
    parse_header,
    read_annotations,
    read_beats,
    read_csv_rows,
    read_wfdb,
    records_in,
    write_wfdb,
)

HEADER = "x1 2 360 650000\nx1.dat 212 200 11 1024 995 -22131 0 MLII\nx1.dat 212 200 11 1024 1011 20052 0 V1\n"


@pytest.fixture
def folder(tmp_path):
    """A folder with one record of ten seconds."""
    wave = np.sin(np.arange(3600) / 20)
    recording = make_recording("made", 360, {"MLII": wave, "V1": -wave})
    write_wfdb(tmp_path, recording, make_beats([1.0, 2.0, 3.0], ["N", "V", "N"]))
    return tmp_path


@pytest.mark.parametrize(
    "file",
    ["../x1.dat", "/etc/passwd", "/x1.dat", "a/x1.dat", "http://host/x1.dat", "~", "x1.dat/../y", "..dat", "x1.hea"],
)
def test_a_header_cannot_name_a_file_elsewhere_or_of_another_kind(file):
    with pytest.raises(EcgError, match="beside the header"):
        parse_header("x1", HEADER.replace("x1.dat", file))


@pytest.mark.parametrize(
    ("old", "new"),
    [("x1 2 ", "x1 3 "), ("x1 2 ", "x1 0 "), ("212 200", "8 200"), ("360", "3.6.0"), ("212 200", "212x0 200")]
    + [("650000", "9" * n) for n in (12, 13, 25, 26, 5000)],
)
def test_a_header_with_counts_that_cannot_be_is_refused(old, new):
    with pytest.raises(EcgError):
        parse_header("x1", HEADER.replace(old, new))


def test_a_header_may_name_the_samples_of_another_record_beside_it(folder):
    header = (folder / "made.hea").read_text()
    (folder / "both.hea").write_text(header.replace("made 2", "both 2"))
    made, both = (read_wfdb(folder, record) for record in ("made", "both"))
    assert both.notes == () and np.array_equal(made.leads["V1"], both.leads["V1"], equal_nan=True)
    (folder / "both.hea").write_text(header.replace("made 2", "both 2").replace("made.dat", "none.dat"))
    with pytest.raises(EcgError, match=r"both: expected a file none\.dat, found none"):
        read_wfdb(folder, "both")


@given(st.text(max_size=300))
def test_any_text_is_a_header_or_refused(text):
    with contextlib.suppress(EcgError):
        parse_header("x1", text)
    with contextlib.suppress(EcgError):
        parse_header("x1", "x1 1 360 100\n" + text)


@given(st.lists(st.integers(-2048, 2047), max_size=50))
def test_format_212_gives_back_what_was_written(values):
    assert decode("212", encode("212", np.array(values, int)))[: len(values)].tolist() == values


@pytest.mark.parametrize(
    ("format_", "kind", "zero", "lowest"),
    [("16", "<i2", 0, -32768), ("61", ">i2", 0, -32768), ("160", "<u2", 32768, -32768), ("80", "u1", 128, -128)]
    + [("32", "<i4", 0, -(2**31))],
)
def test_formats_of_whole_bytes_are_read_and_their_lowest_value_is_no_sample(tmp_path, format_, kind, zero, lowest):
    units = np.concatenate([np.arange(-100, 100), np.full(50, lowest)])
    (tmp_path / "odd.dat").write_bytes((units + zero).astype(kind).tobytes())
    (tmp_path / "odd.hea").write_text(f"odd 1 100 250\nodd.dat {format_} 32/mV\n")
    lead = read_wfdb(tmp_path, "odd").leads["lead 1"]
    assert lead[:200].tolist() == [unit / 32 for unit in range(-100, 100)]
    assert np.isnan(lead[200:]).all()


def test_a_signal_that_is_no_voltage_is_no_lead(tmp_path):
    wave = (500 * np.sin(np.arange(3600) / 20)).astype("<i2")
    (tmp_path / "bp.dat").write_bytes(np.stack([wave] * 4, axis=1).tobytes())
    units = {"II": "mV", "ABP": "mmHg", "RESP": "NU", "V": "uV"}
    lines = [f"bp.dat 16 200/{unit} 16 0 0 0 0 {name}" for name, unit in units.items()]
    (tmp_path / "bp.hea").write_text("\n".join(["bp 4 360 3600", *lines]))
    recording = read_wfdb(tmp_path, "bp")
    assert list(recording.leads) == ["II", "V"]
    assert any("ABP: in mmHg" in note for note in recording.notes)
    assert any("RESP: by its name no ECG" in note for note in recording.notes)


@pytest.mark.parametrize("name", ["MLII", "aVR", "V1", "ECG I", "Ableitung II", "D3", "CM5", "Brustwand", "MLIII"])
def test_a_lead_is_a_lead_by_whatever_name(name):
    assert list(make_recording("any", 250, {name: np.sin(np.arange(2000) / 20)}).leads) == [name]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x1.dat 212 200 11 1024 1011 20052 0 V1", "x1.dat 212"),  # all that may be missing
        ("212 200", "212x1+24 200(0)/mV"),
        ("212 200", "212x4:3+24 200(0)/mV"),
        ("x1.dat", "x1.mat"),
        ("x1.dat 212 200 11 1024 1011", "x1.xyz 16 200 11 1024 1011"),
    ],
)
def test_what_is_unusual_in_a_header_is_read(old, new):
    header = parse_header("x1", HEADER.replace(old, new))
    assert [lead.gain for lead in header.leads] == [200, 200]


def test_a_header_without_a_rate_means_250_hz():
    first, _, lines = HEADER.partition("\n")
    assert first.startswith("x1 2 ")
    header = parse_header("x1", f"x1 2\n{lines}")
    assert (header.fs_hz, header.n_samples) == (250, None)


@pytest.fixture(scope="module")
def two_leads():
    """Ten seconds of two leads in mV, at 250 Hz."""
    t = np.arange(2500) / 250
    return np.stack([np.sin(9 * t) + 0.2 * np.sin(60 * t), np.cos(7 * t)], axis=1)


@pytest.mark.parametrize(("format_", "gain"), [("24", 1e5), ("212", 500), ("16", 1000), ("80", 50)])
@pytest.mark.parametrize("n", [2500, 2499, 2498])  # the last bytes of a format that packs samples are not always full
def test_what_the_wfdb_package_writes_is_read(tmp_path, two_leads, format_, gain, n):
    about = {"fs": 250, "units": ["mV", "uV"], "sig_name": ["II", "V5"], "fmt": [format_] * 2}
    scale = {"adc_gain": [gain, gain / 1000], "baseline": [7, -9]}
    with _wfdb() as wfdb:
        wfdb.wrsamp("odd", p_signal=two_leads[:n] * [1, 1000], write_dir=str(tmp_path), **about, **scale)
    read = read_wfdb(tmp_path, "odd")
    assert read.notes == ()
    for lead, values in zip(("II", "V5"), two_leads.T, strict=True):
        np.testing.assert_allclose(read.leads[lead], values[:n], atol=1 / gain)


def test_signals_of_two_files_are_read_and_what_one_does_not_hold_is_a_gap(tmp_path, two_leads):
    units = np.round(1000 * two_leads).astype("<i2")
    for i, n in enumerate((2500, 2000)):
        (tmp_path / f"two_{i}.dat").write_bytes(units[:n, i].tobytes())
    (tmp_path / "two.hea").write_text("two 2 250 2500\ntwo_0.dat 16 1000/mV\ntwo_1.dat 16 1000/mV\n")
    read = read_wfdb(tmp_path, "two")
    np.testing.assert_allclose(read.leads["lead 1"], two_leads[:, 0], atol=0.001)
    np.testing.assert_allclose(read.leads["lead 2"][:2000], two_leads[:2000, 1], atol=0.001)
    assert np.isnan(read.leads["lead 2"][2000:]).all()
    assert read.notes == ("expected 2500 samples, found 2000: the file ends early",)


@pytest.mark.parametrize("format_", ["310", "311"])
def test_samples_of_ten_bits_are_read_as_the_wfdb_package_reads_them(tmp_path, format_):
    content = np.random.default_rng(0).integers(256, size=400, dtype=np.uint8).tobytes()
    (tmp_path / "ten.dat").write_bytes(content)
    (tmp_path / "ten.hea").write_text(f"ten 1 100 300\nten.dat {format_}\n")
    with _wfdb() as wfdb:
        read = wfdb.rdrecord(str(tmp_path / "ten"), physical=False)
    found = decode(format_, content)
    assert -512 <= found.min() <= found.max() <= 511
    assert (found % 1024).tolist() == (read.d_signal[:, 0] % 1024).tolist()  # wfdb gives some of 311 no sign


def test_of_several_samples_a_frame_the_fastest_leads_are_taken_and_annotations_count_frames(tmp_path, two_leads):
    units = np.round(1000 * two_leads[:, 0]).astype("<i2").reshape(-1, 4)
    frames = np.concatenate([units, units[:, :1]], axis=1)  # four samples of one signal, one of another
    (tmp_path / "multi.dat").write_bytes(frames.tobytes())
    (tmp_path / "multi.hea").write_text("multi 2 62.5 625\nmulti.dat 16x4 1000/mV\nmulti.dat 16 1000/mV\n")
    (tmp_path / "multi.atr").write_bytes(annotation_bytes("multi", 62.5, np.array([2.0, 4.0]), ["N", "V"]))
    read = read_wfdb(tmp_path, "multi")
    assert (read.fs_hz, list(read.leads)) == (250, ["lead 1"])
    assert read.notes == ("lead lead 2: at 62.5 Hz, less than others; not used",)
    np.testing.assert_allclose(read.leads["lead 1"], two_leads[:, 0], atol=0.001)
    assert read_beats(tmp_path, "multi").time_s.tolist() == [2.0, 4.0]


def test_a_lead_that_was_sampled_too_late_is_put_where_it_belongs(tmp_path, two_leads):
    units = np.round(1000 * two_leads).astype("<i2")
    units[:, 1] = np.roll(units[:, 1], 5)
    (tmp_path / "late.dat").write_bytes(units.tobytes())
    (tmp_path / "late.hea").write_text("late 2 250\nlate.dat 16 1000/mV\nlate.dat 16:5 1000/mV\n")
    lead = read_wfdb(tmp_path, "late").leads["lead 2"]
    np.testing.assert_allclose(lead[:-5], two_leads[:-5, 1], atol=0.001)
    assert np.isnan(lead[-5:]).all()


def test_segments_follow_each_other_and_what_one_has_not_is_a_gap(tmp_path, two_leads):
    first, second = two_leads.T
    write_wfdb(tmp_path, make_recording("long_1", 250, {"II": first}))
    write_wfdb(tmp_path, make_recording("long_2", 250, {"II": second, "V": first}))
    (tmp_path / "long.hea").write_text("long/4 2 250 5600\nlong_layout 0\nlong_1 2500\n~ 600\nlong_2 2500\n")
    (tmp_path / "long.atr").write_bytes(annotation_bytes("long", 250, np.array([1.0, 21.0]), ["N", "N"]))
    read, nan = read_wfdb(tmp_path, "long"), np.full(600, np.nan)
    np.testing.assert_allclose(read.leads["II"], [*two_leads[:, 0], *nan, *two_leads[:, 1]], atol=0.004)
    np.testing.assert_allclose(read.leads["V"], [*np.full(2500, np.nan), *nan, *two_leads[:, 0]], atol=0.004)
    assert read_beats(tmp_path, "long").time_s.tolist() == [1.0, 21.0]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("long/1 2 250 2500\nother 2500", "beside the header"),
        ("long/1 2 250 2500\nlong 2500", "beside the header"),
        ("long/1 2 250 2500\n../long_1 2500", "beside the header"),
        ("long/2 2 250 2500\nlong_1 2500", "or segments"),
        ("long/1 2 250 2500\nlong_1 2400", "segments of 2500"),
        ("long/1 2 250\nlong_1 2500", "segments of None"),
        ("long/1 2 250 2500\nlong_1 2500", "a file long_1.hea"),
        ("long/1 2 250 2500\n~ 2500", "of one rate"),
    ],
)
def test_segments_that_cannot_be_are_refused(tmp_path, lines, said):
    (tmp_path / "long.hea").write_text(lines)
    with pytest.raises(EcgError, match=said):
        read_wfdb(tmp_path, "long")


def test_a_record_whose_samples_lie_in_part_in_files_of_others_is_refused_as_a_bucket_would_lack_them(folder):
    line = "other.dat 212 200 12 0 0 0 0 V2\n"
    (folder / "other.dat").write_bytes((folder / "made.dat").read_bytes())
    (folder / "mix.hea").write_text(f"mix 2 360 3600\n{line}mix.dat 212 200 12 0 0 0 0 V1\n")
    with pytest.raises(EcgError, match=r"of others alone, found mix\.dat, other\.dat"):
        read_wfdb(folder, "mix")
    (folder / "mix_1.hea").write_text(f"mix_1 1 360 3600\n{line}")
    (folder / "mix.hea").write_text("mix/1 1 360 3600\nmix_1 3600\n")
    with pytest.raises(EcgError, match=r"segment mix_1 in files of the record's name, found other\.dat"):
        read_wfdb(folder, "mix")


@pytest.mark.parametrize("segmented", [False, True])
def test_rows_that_a_header_promises_and_no_file_holds_are_refused_before_they_are_made(tmp_path, segmented):
    (tmp_path / "big.dat").write_bytes(bytes(4000))
    (tmp_path / "big_1.dat").write_bytes(bytes(4000))
    if segmented:  # ten hours of 2000 Hz
        (tmp_path / "big.hea").write_text("big/2 1 2000 72000000\nbig_1 2000\n~ 71998000\n")
        (tmp_path / "big_1.hea").write_text("big_1 1 2000 2000\nbig_1.dat 16 200 12 0 0 0 0 MLII\n")
    else:  # a slow lead of many frames, and fast ones of two
        fast = "".join(f"big_1.dat 16x1000 200 12 0 0 0 0 V{i}\n" for i in range(2))
        (tmp_path / "big.hea").write_text(f"big 3 2 2000\nbig.dat 16 200 12 0 0 0 0 MLII\n{fast}")
    with pytest.raises(EcgError, match=r"at least one in 20 of .* samples in its files"):
        read_wfdb(tmp_path, "big")


@pytest.mark.parametrize(("annotator", "symbols"), [("ecg", ("N", "V")), ("qrs", ("Q", "Q"))])
def test_beats_stand_beside_a_file_of_rhythms_and_a_detector_knows_no_classes(folder, annotator, symbols):
    for name, own in (("atr", ["+", "~"]), (annotator, ["N", "V"])):
        (folder / f"made.{name}").write_bytes(annotation_bytes("made", 360, np.array([1.0, 2.0]), own))
    assert read_beats(folder, "made").symbols == symbols


def test_a_header_with_a_mark_of_its_encoding_is_read(folder):
    path = folder / "made.hea"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"V1", "Brustwand \xf6\x1b".encode()))
    assert list(read_wfdb(folder, "made").leads) == ["MLII", "Brustwand \xf6"]


@pytest.mark.parametrize(
    ("gain", "per_mv", "baseline"),
    [
        ("19273.913043478264(-10602)/mV", 19273.913043478264, -10602),  # as wfdb writes where it chooses a gain
        ("2e-1(1234567890)/uV", 200, 1234567890),
        ("0.2/microvolts", 200, 1024),
        ("200000/V", 200, 1024),
        ("200/NU", 200, 1024),
        ("0", 200, 1024),
    ],
)
def test_gain_and_baseline_are_what_the_header_says(gain, per_mv, baseline):
    lead = parse_header("x1", HEADER.replace("212 200", f"212 {gain}")).leads[0]
    assert (lead.name, lead.baseline, lead.unit) == ("MLII", baseline, "")
    assert lead.gain == pytest.approx(per_mv)


def test_what_stands_for_a_gain_and_is_none_is_no_name_of_a_lead():
    with pytest.raises(EcgError, match="a signal's line"):
        parse_header("x1", HEADER.replace("212 200", "212 gain"))


def test_a_rate_of_many_digits_is_read():
    assert parse_header("x1", HEADER.replace(" 360 ", " 333.3333333333333 ")).fs_hz == 333.3333333333333


def test_a_length_of_0_tells_nothing_and_the_file_tells_it(folder):
    header = folder / "made.hea"
    header.write_text(header.read_text().replace(" 360 3600", " 360 0", 1))
    recording = read_wfdb(folder, "made")
    assert (recording.n_samples, recording.notes) == (3600, ())


def test_a_checksum_of_0_holds_a_place_and_accuses_no_file(folder):
    lines = (folder / "made.hea").read_text().splitlines()
    bare = [re.sub(r"-?\d+ 0 (\w+)$", r"0 0 \1", line) for line in lines]
    (folder / "made.hea").write_text("\n".join(bare))
    assert bare != lines and read_wfdb(folder, "made").notes == ()


@pytest.mark.parametrize("gain", ["1e300", "1e-300", "1e999"])
def test_a_gain_that_cannot_be_is_refused(gain):
    with pytest.raises(EcgError, match="gain"):
        parse_header("x1", HEADER.replace("212 200", f"212 {gain}"))


def test_annotations_that_count_by_a_clock_of_their_own_are_where_they_are(folder):
    with _wfdb() as wfdb:
        wfdb.wrann("made", "atr", np.array([1000, 2000, 99_000]), ["N", "V", "N"], fs=1000, write_dir=str(folder))
    beats = read_beats(folder, "made")
    assert beats.time_s.tolist() == [1.0, 2.0]
    assert beats.notes == ("1 annotations lie outside the record; left out",)


@pytest.mark.parametrize(
    ("edges", "spans"),
    [
        ("[]", [(1, 2)]),
        ("][]", [(0, 1), (2, 3)]),
        ("[][", [(1, 2), (3, np.inf)]),
        ("[[]]", [(1, 3)]),
        ("NN", []),
    ],
)
def test_a_record_may_begin_or_end_in_flutter(folder, edges, spans):
    time_s = np.arange(1.0, len(edges) + 1)
    (folder / "made.atr").write_bytes(annotation_bytes("made", 360, time_s, list(edges)))
    assert flutter_in(folder, "made") == spans


def test_flutter_of_no_length_ends_where_it_begins(folder):
    (folder / "made.atr").write_bytes(annotation_bytes("made", 360, np.array([1.0, 1.0, 2.0]), list("[]N")))
    assert flutter_in(folder, "made") == [(1, 1)]


def test_too_much_for_a_file_of_annotations_is_refused_before_it_is_read(folder):
    (folder / "made.atr").write_bytes(b"\x0a\x04" * 2_100_000)
    with pytest.raises(EcgError, match="bytes of annotations"):
        read_beats(folder, "made")


def test_rows_are_of_the_first_channel_or_none(folder):
    (folder / "two.dat").write_bytes(np.stack([np.zeros(3600), np.arange(3600) % 50], axis=1).astype("<i2").tobytes())
    (folder / "two.hea").write_text("two 2 360 3600\ntwo.dat 16 200 16 0 0 0 0 MLII\ntwo.dat 16 200 16 0 0 0 0 V1\n")
    (folder / "two.atr").write_bytes((folder / "made.atr").read_bytes())
    with pytest.raises(EcgError, match=r"first channel, MLII, found .*lead MLII: constant"):
        heartbeat_rows(folder, "two")


def test_rows_are_made_of_annotated_records_of_360_hz_only(folder):
    content = (folder / "made.hea").read_text()
    (folder / "made.hea").write_text(content.replace(" 360 ", " 250 ", 1))
    with pytest.raises(EcgError, match="expected 360 Hz in one segment, as the table was made from, found 250 Hz"):
        heartbeat_rows(folder, "made")
    (folder / "made.atr").unlink()
    with pytest.raises(EcgError, match=r"expected annotations in made\.atr, found none"):
        heartbeat_rows(folder, "made")


def test_a_row_runs_from_a_beat_to_a_fifth_behind_the_next_and_is_scaled_to_one(tmp_path):
    at = np.array([300, 630, 960, 1320, 1800])
    signal = np.arange(3600) % 997 / 200
    beats = make_beats(at / 360, ["N", "V", "A", "N", "N"])
    write_wfdb(tmp_path, make_recording("rows", 360, {"MLII": signal}), beats)
    rows, classes = heartbeat_rows(tmp_path, "rows")
    assert classes.tolist() == [0, 2, 1, 0] and rows.shape == (4, 187)
    for row, first, n in zip(rows, at[:-1], (132, 134, 152, 160), strict=True):  # as (330 + 0.2 * 330) / 3
        expected = signal[first : first + 3 * n : 3]
        expected = (expected - expected.min()) / np.ptp(expected)
        assert row[:n] == pytest.approx(expected, abs=0.01) and not row[n:].any()


ROW = ",".join(["5e-1"] * 187)


def test_rows_are_read_with_and_without_a_line_of_names(tmp_path):
    table = tmp_path / "rows.csv"
    numbers = ",".join(map(str, range(188))) + "\n"
    for head in ("", ",".join(f"c{i}" for i in range(187)) + ",label\n", numbers):
        table.write_text(f"{head}{ROW},4.0\n\n{ROW},0\n{ROW}\n")
        assert [kind for _, kind in read_csv_rows(table)] == [4, 0, -1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (f"{ROW},5", "a class from 0 to 4 behind the samples, found 5"),
        (f"{ROW},0.5", "a class from 0 to 4 behind the samples, found 0.5"),
        (f"{ROW},-1", "a class from 0 to 4 behind the samples, found -1"),
        (f"{ROW},nan", "a class from 0 to 4 behind the samples, found nan"),
        (ROW[5:], "187 samples and a class, found 186 values"),
        (f"1.5,{ROW[5:]},1", "samples from 0 to 1, found 1.5"),
        (f"nan,{ROW[5:]},1", "samples from 0 to 1, found nan"),
        (f"\x1b[2J,{ROW[5:]},1", r"numbers with commas between them, found \x1b[2J"),
    ],
)
def test_an_odd_row_is_named_and_the_others_are_read(tmp_path, row, said):
    (tmp_path / "rows.csv").write_text(f"{ROW},1\n{row}\n{ROW},2\n")
    first, odd, last = read_csv_rows(tmp_path / "rows.csv")
    assert (first[1], last[1]) == (1, 2)
    assert str(odd).startswith(f"rows.csv, row 2: expected {said}")


def test_a_line_without_an_end_is_not_read_into_memory_at_once(tmp_path):
    (tmp_path / "rows.csv").write_text("0," * 200_000)
    assert "found 5001 values" in str(next(read_csv_rows(tmp_path / "rows.csv")))


def test_rows_of_a_user_are_counted_by_class_and_those_of_the_second_set_by_its_names(tmp_path):
    for name, said in (("rows.csv", "N 1, S 2"), ("ptbdb_abnormal.csv", "normal 1, infarction 2")):
        (tmp_path / name).write_text(f"{ROW},0\n{ROW},1\n{ROW},1\n")
        run = CliRunner().invoke(ecg, ["csv", "--rows", str(tmp_path / name)])
        assert (run.exit_code, run.stdout) == (0, f"{name}: 3 rows: {said}; odd rows: 0\n")


def test_a_table_with_each_rows_record_or_number_is_told_of_as_well(tmp_path):
    write_records(tmp_path / "in", n_records=2, minutes=1)
    made = CliRunner().invoke(ecg, ["csv", "--records", str(tmp_path / "in"), "--out", str(tmp_path / "made.csv")])
    told = CliRunner().invoke(ecg, ["csv", "--rows", str(tmp_path / "made.csv")])
    assert told.exit_code == 0 and f"made.csv: {made.stdout.split()[0]} rows: N " in told.stdout
    (tmp_path / "index.csv").write_text("," + ",".join(map(str, range(188))) + f"\n0,{ROW},2.0\n1,{ROW},3.0\n")
    assert [kind for _, kind in read_csv_rows(tmp_path / "index.csv")] == [2, 3]


def test_odd_rows_of_a_user_are_named_and_counted(tmp_path):
    (tmp_path / "rows.csv").write_text(f"{ROW},3\n" + f"{ROW},9\n" * 7)
    run = CliRunner().invoke(ecg, ["csv", "--rows", str(tmp_path / "rows.csv")])
    assert run.exit_code == 1 and run.stdout == "rows.csv: 1 rows: F 1; odd rows: 7\n"
    assert "rows.csv, row 6: expected a class" in run.stderr and "row 7" not in run.stderr
    assert "rows.csv: 2 more odd rows" in run.stderr


def test_a_table_is_made_or_told_of_and_not_both(tmp_path):
    (tmp_path / "rows.csv").write_text(ROW)
    for more in ([], ["--rows", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out.csv")]):
        run = CliRunner().invoke(ecg, ["csv", *more])
        assert run.exit_code == 2 and "expected --records and --out, or --rows alone" in run.stderr


@pytest.mark.parametrize("format_", ["212", "16"])
def test_a_peak_beyond_the_scale_is_written_as_the_highest_and_a_gap_as_a_gap(tmp_path, format_):
    lead = np.sin(np.arange(3600) / 20)
    lead[[100, 200, 300]] = 400, -400, np.nan
    write_wfdb(tmp_path, make_recording("peaks", 360, {"MLII": lead}), format_=format_)
    found = read_wfdb(tmp_path, "peaks").leads["MLII"]
    assert np.flatnonzero(np.isnan(found)).tolist() == [300]
    assert (np.nanargmax(found), np.nanargmin(found)) == (100, 200)
    usual = np.abs(lead) <= 1
    assert found[usual] == pytest.approx(lead[usual], abs=0.003)


@pytest.mark.parametrize("name", ["..", "../made", "a/b", "", "made.hea", "a\0"])
def test_a_name_that_is_a_path_is_refused(folder, name):
    with pytest.raises(EcgError):
        read_wfdb(folder, name)


def test_a_truncated_file_gives_its_good_part_and_says_so(folder):
    path = folder / "made.dat"
    path.write_bytes(path.read_bytes()[:6000])
    recording = read_wfdb(folder, "made")
    assert recording.n_samples == 2000
    assert "ends early" in recording.notes[0]


def test_samples_begin_where_the_header_says(folder):
    before = read_wfdb(folder, "made")
    (folder / "made.dat").write_bytes(b"\x17" * 512 + (folder / "made.dat").read_bytes())
    header = folder / "made.hea"
    header.write_text(header.read_text().replace("made.dat 212 ", "made.dat 212+512 "))
    after = read_wfdb(folder, "made")
    assert "212+512" in header.read_text() and after.notes == before.notes == ()
    assert all(np.array_equal(after.leads[name], lead) for name, lead in before.leads.items())


def test_a_changed_sample_is_seen_by_the_checksum(folder):
    path = folder / "made.dat"
    content = bytearray(path.read_bytes())
    content[300] ^= 3
    path.write_bytes(bytes(content))
    assert any("checksum" in note for note in read_wfdb(folder, "made").notes)


def test_segments_and_layouts_are_no_records_beside_the_record_that_they_make(folder):
    for name in ("made_0001", "made_layout", "made_b", "other_0001"):
        (folder / f"{name}.hea").write_text("")
    assert records_in(folder) == list_records(str(folder)) == ["made", "made_b", "other_0001"]


def test_a_link_is_not_followed(folder, tmp_path):
    (folder / "other.hea").symlink_to(folder / "made.hea")
    with pytest.raises(EcgError, match="link"):
        read_wfdb(folder, "other")


def test_annotations_that_are_none_are_refused(folder):
    (folder / "made.atr").write_bytes(b"\xff" * 7)
    with pytest.raises(EcgError, match="annotations"):
        read_annotations(folder, "made")


def test_leads_that_say_nothing_are_left_out_and_microvolts_scaled():
    wave = np.sin(np.arange(2000) / 20)
    recording = make_recording("odd", 250, {"a": wave * 500, "b": np.zeros(2000), "c": np.where(wave > -2, np.nan, 0)})
    assert list(recording.leads) == ["a"]
    assert abs(recording.leads["a"]).max() < 1
    assert len(recording.notes) == 3


@pytest.mark.parametrize(
    ("name", "is_one"),
    [(name, False) for name in ("RESP", "Respiration", "foot GSR", "finger PPG", "BVP", "Sp02", "HR", "THOR RES")]
    + [(name, True) for name in ("ECG", "ecg i", "X", "mod.V1", "A-S", "CM5", "chest", "D3", "aVF", "HR-ECG", "")],
)
def test_a_signal_beside_the_ecg_is_known_by_its_name(name, is_one):
    wave = np.sin(np.arange(3600) / 20)
    recording = make_recording("made", 360, {"II": wave, name: wave})
    assert list(recording.leads) == ["II", name][: 1 + is_one]
    assert recording.notes == (() if is_one else (f"lead {name}: by its name no ECG; not used",))


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e30, -1e300, 1.1e9])
def test_samples_beyond_measure_are_gaps_and_are_counted(value):
    wave = np.sin(np.arange(2000) / 20)
    recording = make_recording("odd", 250, {"a": [*wave[:1900], *[value] * 100], "b": [value] * 2000, "c": wave})
    assert np.isnan(recording.leads["a"]).sum() == 100 and list(recording.leads) == ["a", "c"]
    said = "samples are infinite or beyond ±1e+09; taken for gaps"
    assert recording.notes[:2] == (f"lead a: 100 {said}", f"lead b: 2000 {said}")


@pytest.mark.parametrize(("fs_hz", "n", "n_leads", "found"), [
    (99.0, 500, 1, "99.0"), (2001.0, 5000, 1, "2001.0"), (100.0, 500, 17, "17"), (100.0, 99, 1, "0.99 s"),
    (100.0, 17_280_001, 1, "1.73e+05 s"),
])  # fmt: skip
def test_a_recording_beyond_what_an_ecg_can_be_is_refused(fs_hz, n, n_leads, found):
    lead = np.zeros(n, np.float32)
    with pytest.raises(EcgError, match=re.escape(f"found {found}")):
        Recording("odd", fs_hz, {f"{i}": lead for i in range(n_leads)})
    inside = np.zeros(500, np.float32)
    assert Recording("usual", 100.0, {f"{i}": inside for i in range(16)}).duration_s == 5
    assert Recording("fast", 2000.0, {"a": np.zeros(2000, np.float32)}).duration_s == 1


def test_a_lead_without_a_number_and_one_that_is_at_its_ends_for_most_of_the_time_are_no_leads():
    with pytest.raises(EcgError, match="found lead a: 0 of 500 samples are numbers; not used"):
        make_recording("odd", 250, {"a": np.full(500, np.nan)})
    at_ends, fewer = (np.where(np.arange(500) % 100 < n, 1, np.linspace(-1, 0.9, 500)) for n in (51, 49))
    assert make_recording("odd", 250, {"a": at_ends, "b": fewer}).notes == ("lead a: clipped; not used",)


def test_a_paced_beat_and_an_unknown_letter_are_q():
    assert (class_of("/"), class_of("f"), class_of("%")) == (4, 4, 4)


def test_annotations_out_of_order_or_double_are_mended_and_counted():
    beats = make_beats([3.0, 1.0, 1.0], ["N", "V", "N"])
    assert beats.time_s.tolist() == [1.0, 3.0]
    assert len(beats.notes) == 2


def test_the_published_table_comes_back_from_the_records(real_data):
    folder = real_data / "mitbih"
    counts = sum(np.bincount(heartbeat_rows(folder, record)[1], minlength=5) for record in records_in(folder))
    assert counts.tolist() == [90589, 2779, 7236, 803, 8039]


def test_real_records_agree_with_the_wfdb_package(real_data):
    folder = real_data / "mitbih"
    for record in ("100", "114"):
        with _wfdb() as wfdb:
            theirs = wfdb.rdrecord(str(folder / record))
        ours = read_wfdb(folder, record)
        assert list(ours.leads) == theirs.sig_name
        assert ours.notes == ()
        np.testing.assert_allclose(np.stack(list(ours.leads.values()), axis=1), theirs.p_signal, atol=1e-5)
    assert len(read_beats(folder, "100").time_s) == 2273
