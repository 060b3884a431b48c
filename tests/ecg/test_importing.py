"""Recordings in EDF, BDF and CSV become records: leads by name, gaps as gaps, units as said, nothing of others lost."""

import os
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from dreem_case.ecg.cli import ecg
from dreem_case.ecg.importing import import_recording, recordings_in
from dreem_case.ecg.recording import EcgError, make_recording
from dreem_case.ecg.simulate import simulate_record
from dreem_case.ecg.wfdb_files import _wfdb, read_header, read_wfdb, write_wfdb
from dreem_case.nights.casefile import CaseFileError
from tests.support.edf_files import psg

WAVE = np.round(simulate_record("made", "sinus", minutes=0.5, fs_hz=125)[0].leads["MLII"].astype(float), 3)
ECG = {"label": "EKG1-EKG2", "unit": "uV"}


def command(*words):
    """Run `ecg import`."""
    return CliRunner().invoke(ecg, ["import", *map(str, words)])


def table(path, row="{t:.3f},{mv:.3f}", head="time,ecg (mV)\n", times=None, end="\n"):
    """Write a table of samples at 125 Hz."""
    times = np.arange(len(WAVE)) / 125 if times is None else times
    rows = [row.format(t=t, ms=round(1000 * t), mv=mv, uv=1000 * mv) for t, mv in zip(times, WAVE, strict=False)]
    path.write_text(head + "\n".join(rows) + end, encoding="utf-8")
    return path


def imported(path, **asked):
    """Give what the record of a file holds, read again from the record."""
    recording = import_recording(path, path.parent / "records", **asked)
    return read_wfdb(path.parent / "records", recording.record)


def only_lead(recording):
    """Give the only lead."""
    (lead,) = recording.leads.values()
    return lead


@pytest.mark.parametrize(
    ("row", "head"),
    [
        ("{ms},{mv:.3f}", "t_ms,ii_mV\n"),
        ("{t:.3f};{uv:.0f}", "\ufeffTime (s);ECG [µV]\n"),
        ("{t:.3f}\t{mv:.3f}", "elapsed\tECG (mV)\n"),
        ("'0:{t:06.3f}',{mv:.3f}", "'Elapsed time','MLII (mV)'\n"),
        ("2026-01-02T10:00:{t:06.3f}Z,{uv:.0f},60", "timestamp,ecg_uv,hr\n"),
        ("2026-01-02 10:00:{t:06.3f}+01:00;{uv:.0f}", "sep=;\ntimestamp;ecg_uv\n"),
        ("23:59:59;{ms}000000;{uv:.0f}", "Phone timestamp;sensor timestamp [ns];ecg [uV]\n"),
        ("{uv:.1f}", "Name,Jane\nSample Rate,125 hertz\nLead,Lead I\nUnit,µV\n\n\n"),
    ],
)
def test_a_table_is_read_in_the_forms_that_devices_write(tmp_path, row, head):
    found = imported(table(tmp_path / "strap.csv", row, head))
    assert found.fs_hz == 125
    np.testing.assert_allclose(only_lead(found), WAVE, atol=0.002)


def test_decimal_commas_are_read_and_clocks_go_on_behind_midnight(tmp_path):
    clock = [f"{23 + s // 3600 - 24 * (s >= 3600)}:59:{s:02}" for s in (57, 58, 59)]
    clock += [f"0:00:{s:02}" for s in range(20)]
    rows = [f"{clock[i // 125]},{i % 125 * 8:03};{str(mv).replace('.', ',')}" for i, mv in enumerate(WAVE[:2500])]
    path = tmp_path / "day.csv"
    path.write_bytes(("Uhrzeit;EKG (mV)\n" + "\n".join(rows)).encode("latin-1"))
    found = imported(path)
    assert found.fs_hz == 125
    np.testing.assert_allclose(only_lead(found), WAVE[:2500], atol=0.002)


def test_times_in_whole_milliseconds_give_the_rate_that_they_are_of(tmp_path):
    assert imported(table(tmp_path / "watch.csv", "{ms},{mv}", "t_ms,I_mV\n", np.arange(3750) / 512)).fs_hz == 512


@pytest.mark.parametrize("lost", [2, 250])
def test_a_jump_of_the_times_is_a_gap_and_samples_behind_it_are_where_they_were(tmp_path, lost):
    times = np.arange(3750) / 125 + np.where(np.arange(3750) < 1000, 0, lost / 125)
    lead = only_lead(imported(table(tmp_path / "gap.csv", times=times)))
    assert np.flatnonzero(np.isnan(lead)).tolist() == list(range(1000, 1000 + lost))
    np.testing.assert_allclose(lead[1000 + lost :], WAVE[1000:], atol=0.002)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "nothing"),
        ("hello\n", "rows of numbers"),
        ("time,ecg\n0,1\n0.008,2\n", "--unit"),
        ("ecg (mV)\n0\n1\n", "--rate"),
        ("0,1\n0.008,2\n", "a line of names"),
        ("time,x,y\n0,1,2\n0.008,2,3\n", "found x, y"),
        ("time,ecg (mV)\n0,1\n0.008,off\n", "'off'"),
        ("time,ecg (mV)\n10:00:00,1\n10:00:00,2\n10:00:01,1\n", "--rate"),
        ("time,ecg (mV)\n10:00:00.1 PM,1\n", "found time,ecg"),
        ("time,ecg (mV)\n10:00:00.1,1\nnoon,2\n", "found 'noon'"),
        ("time (s),ecg (mV)\n0,1\n8,2\n16,3\n", "100 to 2000 Hz, found 0.125 Hz"),
        ("time (s),ecg (mV)\n0,1\n0.008,2\n0.016,3\n0.008,4\n", "behind 0.016, in sample 4"),
        ("time (s),ecg (mV)\n" + "".join(f"{k * 0.008},{k % 2}\n" for k in range(99)) + "180000,1\n", "found 50 h"),
        ("time,ecg (mV)\n2026-13-01 10:00:00.1,1\n", "2026-13-01"),
        ("time (s),ecg (mV)\n" + "".join(f"{k * 0.008},{k % 2}\n" for k in range(99)) + "1e300,1\n", "48 h"),
        ("time (s),ecg,V\n0,1,2\n0.008,2,3\n", "a unit, as ecg (mV)"),
        ("x" * 70_000, "xxx"),
        ("\0\1\2", "no text"),
    ],
)
def test_what_a_table_does_not_say_is_asked_for_and_what_is_none_is_refused(tmp_path, content, found):
    (tmp_path / "odd.csv").write_text(content)
    with pytest.raises(EcgError, match=r"^odd: expected") as caught:
        import_recording(tmp_path / "odd.csv", tmp_path / "records")
    assert found in str(caught.value)
    assert not (tmp_path / "records").exists()


def test_unit_rate_and_lead_are_what_the_user_says(tmp_path):
    path = table(tmp_path / "plain.csv", "{uv:.0f},{ms}", "value,counter\n")
    found = imported(path, chosen={"II": "value"}, rate=250.0, unit="uV")
    assert (list(found.leads), found.fs_hz) == (["II"], 250)
    np.testing.assert_allclose(found.leads["II"], WAVE, atol=0.002)


def test_a_value_that_no_signal_has_is_missing(tmp_path):
    path = table(tmp_path / "spike.csv")
    path.write_text(path.read_text().replace(f"\n8.000,{WAVE[1000]:.3f}", "\n8.000,1e300"))
    assert np.flatnonzero(np.isnan(only_lead(imported(path)))).tolist() == [1000]


@pytest.mark.parametrize("head, names", [
    ("time (s),ECG (mV),ECG (mV)\n", ["ECG", "ECG (2)"]),
    ("'Elapsed time','MLII','V1'\n'seconds','mV','mV'\n", ["MLII", "V1"]),
    ("Jane,Doe,1990\ns,mV,uV\n", ["ECG", "ECG (2)"]),
])  # fmt: skip
def test_every_column_that_is_a_lead_is_one_whatever_names_and_units_it_shares(tmp_path, head, names):
    path = table(tmp_path / "a.csv", row="{t:.3f},{mv:.3f},{uv:.1f}", head=head)
    assert list(imported(path).leads) == names


def test_hidden_files_and_what_lies_in_hidden_folders_are_no_recordings(tmp_path):
    (tmp_path / ".trash").mkdir()
    for name in ("watch.csv", "._watch.csv", ".trash/old.csv", ".trash/old.edf"):
        (tmp_path / name).write_text("x")
    assert recordings_in([tmp_path]) == [tmp_path / "watch.csv"]


def test_a_table_that_ends_within_a_row_loses_that_row_only(tmp_path):
    assert len(only_lead(imported(table(tmp_path / "cut.csv", end="\n30.0")))) == len(WAVE)


def test_a_row_of_another_length_is_a_gap_whatever_its_bytes_are(tmp_path):
    path = table(tmp_path / "odd.csv")
    rows = path.read_bytes().split(b"\n")
    rows[1001] = b"\xb5\xff,1,2,3"
    path.write_bytes(b"\n".join(rows))
    recording = import_recording(path, tmp_path)
    assert np.flatnonzero(np.isnan(only_lead(recording))).tolist() == [1000]
    assert "1 rows of another length; not used" in recording.notes


def test_of_a_polysomnography_the_ecg_is_taken_at_its_own_rate_and_the_rest_is_listed(tmp_path):
    channels = [{"label": "EEG C3-A2"}, ECG | {"samples": "7680"}, {"label": "Resp", "samples": "300"}]
    path = psg(tmp_path / "my night-PSG.edf", channels=channels)
    recording = import_recording(path, tmp_path)
    assert (recording.record, recording.fs_hz, list(recording.leads)) == ("my-night", 256, ["EKG1-EKG2"])
    assert "left out: EEG C3-A2, Resp" in recording.notes
    wave = 0.05 * np.sin(2 * np.pi * np.arange(512) / 256)
    np.testing.assert_allclose(read_wfdb(tmp_path, "my-night").leads["EKG1-EKG2"][:512], wave, atol=0.0002)


def test_a_gap_of_a_discontinuous_edf_is_no_signal_and_a_slower_lead_is_left_out(tmp_path):
    channels = [ECG | {"samples": "2000"}, {"label": "ECG II", "samples": "1000"}]
    path = psg(tmp_path / "a.edf", record_s=10, n_records=3, channels=channels, onsets=[0, 10, 35], reserved="EDF+D")
    found = imported(path)
    missing = np.flatnonzero(np.isnan(found.leads["EKG1-EKG2"]))
    assert (missing[0], missing[-1], len(missing), len(found.leads)) == (4000, 6999, 3000, 1)


def test_a_gap_of_days_costs_no_memory(tmp_path):
    path = psg(tmp_path / "a.edf", record_s=1, n_records=2, channels=[ECG | {"samples": "1000"}], onsets=[0, 170_000],
               reserved="EDF+D")  # fmt: skip
    with pytest.raises(EcgError, match=r"47.2 h with 2000 samples stored"):
        import_recording(path, tmp_path)


def test_a_rate_above_what_a_record_has_is_divided(tmp_path):
    path = psg(tmp_path / "a.edf", record_s=1, n_records=5, channels=[ECG | {"samples": "2048"}])
    assert imported(path).fs_hz == 1024


@pytest.mark.parametrize("channels", [[{"label": "EEG C3-A2"}], [{"label": "ECG", "physical maximum": "-200"}]])
def test_an_edf_without_an_ecg_that_can_be_used_is_refused(tmp_path, channels):
    with pytest.raises(EcgError, match=r"EEG C3-A2|different physical limits"):
        import_recording(psg(tmp_path / "a.edf", channels=channels), tmp_path)


def test_an_edf_is_known_by_what_it_holds(tmp_path):
    path = psg(tmp_path / "a.csv", channels=[ECG | {"samples": "6000"}])
    assert imported(path).fs_hz == 200
    with pytest.raises(CaseFileError, match="found one that begins with"):
        import_recording(table(tmp_path / "b.edf"), tmp_path)


def test_the_wfdb_package_reads_what_was_imported(tmp_path):
    with_offset = make_recording("x", 511.998, {"ECG\nI": np.where(np.arange(3750) == 9, np.nan, WAVE - 300)})
    write_wfdb(tmp_path, with_offset, format_="16", comments=["one\ntwo"])
    with _wfdb() as wfdb:
        read = wfdb.rdrecord(str(tmp_path / "x"))
    assert (read.fs, read.sig_name, read.comments) == (511.998, ["ECGI"], ["onetwo"])
    np.testing.assert_allclose(read.p_signal[:, 0], with_offset.leads["ECG\nI"], atol=0.001)
    assert read_header(tmp_path, "x").leads[0].checksum == read.checksum[0]


def test_a_run_goes_on_does_again_what_has_changed_and_overwrites_nothing_of_others(tmp_path):
    table(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("none")
    run = command(tmp_path, "--out", tmp_path / "out")
    assert run.exit_code == 1 and "a: 0:00:30 at 125 Hz of ecg" in run.output and "not imported: b:" in run.output
    before = (tmp_path / "out/a.dat").stat().st_mtime_ns
    assert "1 of 1 recordings were imported before" in command(tmp_path / "a.csv", "--out", tmp_path / "out").output
    assert (tmp_path / "out/a.dat").stat().st_mtime_ns == before
    assert "at 250 Hz" in command(tmp_path / "a.csv", "--out", tmp_path / "out", "--rate", 250).output
    os.utime(tmp_path / "a.csv", ns=(1, 1))
    assert "at 250 Hz" in command(tmp_path / "a.csv", "--out", tmp_path / "out", "--rate", 250).output
    (tmp_path / "other").mkdir()
    run = command(table(tmp_path / "other/a.csv"), "--out", tmp_path / "out")
    assert run.exit_code == 1 and "a: expected no record of this name in out, or one of this file" in run.output
    assert read_header(tmp_path / "out", "a").fs_hz == 250


def test_of_two_recordings_of_one_name_the_second_is_refused(tmp_path):
    for name in ("a b.csv", "a-b.csv"):
        table(tmp_path / name)
    run = command(tmp_path, "--out", tmp_path / "out")
    assert run.exit_code == 1 and "a-b.csv: expected one recording called a-b" in run.output


def test_a_name_without_letters_is_refused(tmp_path):
    run = command(table(tmp_path / "心電図.csv"), "--out", tmp_path / "out")
    assert run.exit_code == 1 and "letters, digits" in run.output


def test_a_missing_extra_is_told_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "edfio", None)
    run = command(psg(tmp_path / "a.edf", channels=[ECG | {"samples": "6000"}]), "--out", tmp_path / "out")
    assert run.exit_code == 1 and run.output.strip().endswith("pip install 'dreem_case[edf]'")
