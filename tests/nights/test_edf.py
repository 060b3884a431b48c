"""EDF and BDF recordings: an odd file gives the right numbers with a note or a named error, never silent wrong ones."""

import os
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dreem_case.nights.casefile import HypnogramFileError, MissingSignalError, TooShortError
from dreem_case.nights.edf import looks_like_eeg, open_edf, open_edf_night, plain_name
from dreem_case.nights.edf_header import (
    EdfChannelError,
    EdfError,
    EdfHeaderError,
    EdfRecordsError,
    header_bytes,
    read_header,
)
from dreem_case.nights.edf_samples import MAX_ANNOTATIONS, parse_annotations, read_timeline
from dreem_case.nights.safe_h5 import CaseFileError
from tests.support.edf_files import HEIGHT_UV, USUAL, hypnogram, listed, psg, wave

edfio = pytest.importorskip("edfio", reason="reading EDF is an extra")


def height(night, name="Fpz-Cz"):
    """The wave's value a quarter of a second in."""
    signal = night.signals[name]
    return float(signal.values[round(signal.fs_hz / 4)])


def noted(night, words):
    return any(words in note for note in night.notes)


def test_a_recording_as_it_should_be_has_its_numbers_and_no_note(tmp_path):
    night = open_edf(psg(tmp_path / "n-PSG.edf"))
    assert (night.record, night.n_epochs, night.notes) == ("n", 10, ())
    np.testing.assert_allclose(night.signals["Fpz-Cz"].values, wave(100, 300) / 10, atol=1e-4)


@pytest.mark.parametrize(("there", "declared"), [(1, 3), (3, 1), (3, 5)])
def test_a_number_of_signals_that_the_header_has_no_room_for_is_named(tmp_path, there, declared):
    path = psg(tmp_path / "n-PSG.edf", channels=[{"label": f"EEG {i}"} for i in range(there)])
    content = bytearray(path.read_bytes())
    content[252:256] = f"{declared:<4}".encode()
    path.write_bytes(content)
    expected = f"n: expected {there} signals, for which its {256 * (there + 1)} bytes of header have room"
    with pytest.raises(EdfHeaderError, match=f"{expected}, found {declared} declared"):
        read_header(path)


@pytest.mark.parametrize(
    ("fields", "expected", "words"),
    [
        ({"physical minimum": "-200,0", "physical maximum": "200,0"}, HEIGHT_UV, "decimal comma"),
        ({"physical minimum": "-0.2", "physical maximum": "0.2", "unit": "mV"}, HEIGHT_UV, "in mV, converted to µV"),
        ({"physical minimum": "-2e-4", "physical maximum": "2e-4", "unit": "V"}, HEIGHT_UV, "in V, converted"),
        ({"physical minimum": "-2e5", "physical maximum": "2e5", "unit": "nV"}, HEIGHT_UV, "in nV, converted"),
        ({"unit": ""}, HEIGHT_UV, "without a unit: taken as µV"),
        ({"unit": "furlong"}, HEIGHT_UV, "which is no unit known here"),
        ({"physical minimum": "-0.2", "physical maximum": "0.2", "unit": "mVolt"}, HEIGHT_UV, "in mVolt, converted"),
        ({"physical minimum": "-0.2", "physical maximum": "0.2", "unit": "millivol"}, HEIGHT_UV, "in millivol, conv"),
        ({"unit": "µV"}, HEIGHT_UV, "not plain ASCII"),
        ({"physical minimum": "200", "physical maximum": "-200"}, -HEIGHT_UV, "negative amplification"),
        ({"digital minimum": "2000", "digital maximum": "-2000"}, -HEIGHT_UV, "digital minimum above"),
    ],
)
def test_odd_scales_and_units_give_the_true_height_with_a_note(tmp_path, fields, expected, words):
    night = open_edf(psg(tmp_path / "n.edf", channels=[{"unit": "uV"} | fields]))
    assert height(night) == pytest.approx(expected, rel=1e-5)
    assert noted(night, words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"physical minimum": "7", "physical maximum": "7"}, "expected different physical limits"),
        ({"digital minimum": "7", "digital maximum": "7"}, "expected different digital limits"),
        ({"physical maximum": "2oo"}, "expected a number as physical maximum, found 2oo"),
        ({"physical maximum": "nan"}, "expected a number as physical maximum, found nan"),
        ({"physical maximum": "1.000,5"}, "expected a number as physical maximum"),
        ({"physical minimum": ""}, "found nothing"),
        ({"digital minimum": "0", "digital maximum": "65535"}, "within 16 bits, -32768 to 32767, found 0 to 65535"),
        ({"digital maximum": "8388607"}, "found -2000 to 8388607"),
        ({"digital maximum": "1e999"}, "found -2000 to inf"),
        ({"physical minimum": "-1e308", "physical maximum": "1e308"}, "that a signal can have, found -1e+308"),
        ({"physical maximum": "1e999"}, "that a signal can have"),
    ],
)
def test_a_channel_without_a_scale_is_left_out_and_costs_the_others_nothing(tmp_path, fields, words):
    path = psg(tmp_path / "n.edf", channels=[fields, {"label": "EEG Pz-Oz"}])
    night = open_edf(path)
    assert list(night.signals) == ["Pz-Oz"]
    assert noted(night, words)
    with pytest.raises(EdfChannelError, match="Fpz-Cz that can be used"):
        open_edf(path, channels=["Fpz-Cz"])
    with pytest.raises(MissingSignalError):
        open_edf(psg(tmp_path / "alone.edf", channels=[fields]))


@pytest.mark.parametrize("fs_hz", [100, 128, 200, 256, 512, 1000])
def test_usual_rates_are_kept(tmp_path, fs_hz):
    night = open_edf(psg(tmp_path / "n.edf", fs_hz=fs_hz))
    assert night.signals.header("Fpz-Cz").fs_hz == fs_hz
    assert height(night) == pytest.approx(HEIGHT_UV, rel=1e-4)
    assert night.notes == ()


def test_other_rates_are_resampled_behind_a_low_pass_and_noted(tmp_path):
    night = open_edf(psg(tmp_path / "n.edf", fs_hz=2048, n_records=4))
    assert noted(night, "at 2048 Hz, resampled to 250 Hz")
    assert len(night.signals["Fpz-Cz"].values) == 4 * 30 * 250
    middle = night.signals["Fpz-Cz"].values[2500:5000]
    assert np.abs(middle).max() == pytest.approx(HEIGHT_UV, rel=0.01)
    cropped = night.crop(1, 3).signals["Fpz-Cz"].values
    np.testing.assert_array_equal(cropped, night.signals["Fpz-Cz"].values[7500 : 3 * 7500])


@pytest.mark.parametrize("fs_hz", [1, 64])
def test_an_eeg_that_is_too_slow_is_refused_by_its_rate(tmp_path, fs_hz):
    with pytest.raises(MissingSignalError, match=f"expected 100 Hz or more, found {fs_hz} Hz"):
        open_edf(psg(tmp_path / "n.edf", fs_hz=fs_hz))


@pytest.mark.parametrize("duration", ["30.0003", "30.03"])
def test_the_rate_of_a_slow_clock_is_read_and_noted(tmp_path, duration):
    night = open_edf(psg(tmp_path / "n.edf", duration=duration))
    assert night.signals.header("Fpz-Cz").fs_hz == 250 and noted(night, "resampled to 250 Hz")
    assert night.n_epochs == 10 and height(night) == pytest.approx(HEIGHT_UV, rel=1e-3)


@pytest.mark.parametrize("label", ["C3-A2", "Fp1", "EEG 1"])
def test_two_channels_of_one_label_are_two_derivations(tmp_path, label):
    channels = [{"label": label}, {"label": label, "physical minimum": "-400", "physical maximum": "400"}]
    night = open_edf(psg(tmp_path / "n.edf", channels=channels))
    assert [round(height(night, name)) for name in night.signals] == [50, 100]
    assert noted(night, f"one of several channels {label}")


def test_a_wanted_derivation_that_is_missing_is_an_error_that_lists_what_is_there(tmp_path):
    path = psg(tmp_path / "n.edf")
    with pytest.raises(MissingSignalError, match=r"a channel 'C4-M1', found EEG Fpz-Cz"):
        open_edf(path, channels=["C4-M1"])
    assert list(open_edf(path, channels=["eeg fpz-cz"]).signals) == ["Fpz-Cz"]
    assert list(open_edf(path, channels=["EEG Fpz-Cz", "fpz-cz", "Fpz-Cz"]).signals) == ["Fpz-Cz"]


# records and headers


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_records_declared": -1}, "left open: 10 are there"),
        ({"n_records_declared": 99}, "99 data records declared: 10 are there"),
        ({"n_records_declared": 3}, "3 data records declared: 10 are there"),
        ({"n_records_declared": 0}, "0 data records declared: 10 are there"),
        ({"n_records_declared": "ten"}, "ten as the number of data records: 10 are there"),
        ({"date": "42.00.00", "time": "26.00.99"}, "no start"),
        ({"date": "1-1-90"}, "1-1-90 as the date, not two digits each with points between: read as 01.01.1990"),
        ({"date": "", "time": ""}, "no start"),
        ({"patient": "Zoë"}, "not plain ASCII"),
        ({"bytes": "9999"}, "9999 declared as the bytes of the header"),
        ({"recording": "Startdate 02-MAY-1990 X X X"}, "starts on 02.05.1990 by EDF+, on 24.04.1989"),
        ({"duration": "30,0"}, "decimal comma in the duration"),
    ],
)
def test_odd_headers_lose_nothing_and_say_so(tmp_path, options, words):
    night = open_edf(psg(tmp_path / "n.edf", **options))
    assert night.n_epochs == 10
    assert height(night) == pytest.approx(HEIGHT_UV)
    assert noted(night, words)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"duration": "0"}, EdfHeaderError, "a duration of data records above 0"),
        ({"duration": "-30"}, EdfHeaderError, "a duration of data records"),
        ({"duration": "half"}, EdfHeaderError, "a duration of data records, found half"),
        ({"n": "0"}, EdfHeaderError, "1 to 4096 signals, found 0"),
        ({"n": "9999"}, EdfHeaderError, "1 to 4096 signals"),
        ({"n": "-1"}, EdfHeaderError, "1 to 4096 signals"),
        ({"version": "1"}, EdfHeaderError, "an EDF or BDF file"),
        ({"channels": [{"samples": "-5"}]}, EdfHeaderError, "a number of samples"),
        ({"channels": [{"samples": "99999999"}] * 2}, EdfHeaderError, "at most 268435456 bytes, found 399999996 bytes"),
        ({"channels": [{"samples": "99999999"}]}, EdfRecordsError, "data records of 199999998 bytes"),
    ],
)
def test_headers_that_cannot_be_are_named(tmp_path, options, error, words):
    if "channels" in options:
        path = tmp_path / "n.edf"
        path.write_bytes(header_bytes(1, "30", options["channels"]) + bytes(6000))
    else:
        path = psg(tmp_path / "n.edf", **options)
    with pytest.raises(error, match=words):
        open_edf(path)


def test_a_file_cut_anywhere_is_a_shorter_night_or_a_named_error(tmp_path):
    whole = psg(tmp_path / "whole.edf").read_bytes()
    for size in (0, 7, 100, 255, 256, 300, 511, 512, 600, 6511, 6512, 30000, len(whole) - 1):
        path = tmp_path / "cut.edf"
        path.write_bytes(whole[:size])
        try:
            night = open_edf(path)
        except EdfError:
            assert size < 512 + 6000
            continue
        assert night.n_epochs == (size - 512) // 6000
        assert noted(night, "data records declared") and noted(night, "bytes are no whole data record") | (
            (size - 512) % 6000 == 0
        )
        assert height(night) == pytest.approx(HEIGHT_UV)


def test_what_is_no_file_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe.edf")
    for path in (tmp_path / "none.edf", tmp_path / "pipe.edf", tmp_path):
        with pytest.raises(EdfHeaderError):
            read_header(path)


def test_less_than_an_epoch_is_no_night(tmp_path):
    with pytest.raises(TooShortError):
        open_edf(psg(tmp_path / "n.edf", record_s=1, n_records=20))


def test_a_file_that_shrinks_behind_our_back_is_an_error(tmp_path):
    path = psg(tmp_path / "n.edf")
    night = open_edf(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(EdfRecordsError, match="has become shorter"):
        night.load()


# time


def test_a_gap_stays_a_gap(tmp_path):
    onsets = [30 * i + 47.25 * (i >= 4) for i in range(10)]
    night = open_edf(psg(tmp_path / "n.edf", onsets=onsets, reserved="EDF+D"))
    values = night.signals["Fpz-Cz"].values
    assert noted(night, "a gap of 47.25 s at 120 s")
    assert night.n_epochs == 11  # of 347.25 s
    assert np.isnan(values[12000 : 12000 + 4725]).all()
    assert np.isfinite(np.delete(values, slice(12000, 12000 + 4725))).all()
    assert values[12000 + 4725 + 25] == pytest.approx(HEIGHT_UV)
    part = night.crop(3, 7).signals["Fpz-Cz"].values
    np.testing.assert_array_equal(part, values[9000:21000])


def test_a_gap_in_a_file_that_says_it_is_continuous_is_found(tmp_path):
    night = open_edf(psg(tmp_path / "n.edf", onsets=[30 * i + 60 * (i >= 4) for i in range(10)], reserved="EDF+C"))
    assert night.n_epochs == 12
    assert noted(night, "gaps in a file of the continuous EDF+C")


def test_records_that_overlap_or_do_not_say_when_they_were_are_errors(tmp_path):
    with pytest.raises(EdfRecordsError, match=r"data record 5 at 150 s or later, found one at 140 s"):
        open_edf(psg(tmp_path / "n.edf", onsets=[30 * i - 10 * (i >= 5) for i in range(10)], reserved="EDF+D"))
    with pytest.raises(EdfRecordsError, match="an onset of every data record"):
        open_edf(psg(tmp_path / "n.edf", reserved="EDF+D"))
    with pytest.raises(EdfRecordsError, match="at most 72 hours"):
        open_edf(psg(tmp_path / "n.edf", onsets=[0, *(10**8 + 30 * i for i in range(9))], reserved="EDF+D"))


@pytest.mark.parametrize(("step", "kind", "words"), [
    (29.9995, "EDF+C", ""), (29.95, "EDF+C", ""), (29.72, "EDF+C", "data record 11 at 330 s"),  # 3 s in all
    (29.0, "EDF+C", "data record 1 at 30 s"), (29.95, "EDF+D", "data record 1 at 30 s"),
])  # fmt: skip
def test_a_clock_of_onsets_that_runs_slow_is_noted_as_long_as_no_epoch_moves(tmp_path, step, kind, words):
    path = psg(tmp_path / "n.edf", n_records=12, onsets=[round(step * i, 4) for i in range(12)], reserved=kind)
    if words:
        with pytest.raises(EdfRecordsError, match=words):
            open_edf(path)
        return
    night = open_edf(path)
    steady = open_edf(psg(tmp_path / "m.edf", n_records=12))
    assert np.array_equal(night.signals["Fpz-Cz"].values, steady.signals["Fpz-Cz"].values)
    assert noted(night, "fall behind the samples") == (step < 29.99)


def test_a_small_file_does_not_become_a_huge_night(tmp_path):
    channels = [USUAL | {"samples": "100"}, {"label": "EDF Annotations", "samples": "16"}]
    records = b"".join(bytes(200) + listed(onset=onset).ljust(32, b"\0") for onset in (0, 250000))
    path = tmp_path / "n.edf"
    path.write_bytes(header_bytes(2, "0.01", channels, "EDF+D") + records)
    with pytest.raises(EdfRecordsError, match="at most 100000000 samples with the gaps"):
        open_edf(path)
    path.write_bytes(header_bytes(2, "0.0001", channels, "EDF+D") + records)
    with pytest.raises(MissingSignalError, match="expected at most 50000 Hz"):
        open_edf(path)


def test_a_start_within_a_second_counts(tmp_path):
    stages = ((0.5, 30, "Sleep stage W"), (30.5, 30, "Sleep stage 2"))
    texts = listed(*stages, onset=0.5)
    onsets = [0.5 + 30 * i for i in range(10)]
    night = open_edf(psg(tmp_path / "n.edf", onsets=onsets, texts=texts))
    assert night.hypnogram.tolist()[:3] == [0, 2, -1]
    assert noted(night, "0.5 s behind the header's start")


def test_annotations_that_are_damaged_are_counted_and_the_others_kept():
    found, own, n_damaged = parse_annotations(
        b"+0\x14\x14\0+1\x14a\x14\0nonsense\0+2\x15x\x14b\x14\0+3\x151\x14c\x14d\x14\0"
    )
    assert (own, n_damaged) == (0.0, 2)
    assert [(a.onset_s, a.duration_s, a.text) for a in found] == [(1, None, "a"), (3, 1, "c"), (3, 1, "d")]


def test_more_annotations_than_any_night_has_are_refused(tmp_path):
    texts = b"+0\x14\x14\0" + b"+1\x14a\x14\0" * (MAX_ANNOTATIONS + 1)
    with pytest.raises(EdfRecordsError, match="annotations"):
        open_edf(psg(tmp_path / "n.edf", texts=texts, n_records=1))


# hypnograms of recordings


def test_annotations_that_are_no_stages_are_said(tmp_path):
    night = open_edf(psg(tmp_path / "n.edf", texts=listed((0, 30, "Vigilia"), (30, 30, "Etapa 2"))))
    assert night.hypnogram is None and noted(night, "annotations are no hypnogram: Etapa 2, Vigilia")


@pytest.mark.parametrize(
    ("of_file", "words"),
    [
        ({"date": "26.04.89"}, "expected a hypnogram of the night that starts 24.04.1989 16:13"),
        ({"patient": "X F X Female_34yr"}, "expected a hypnogram of the same night"),
    ],
)
def test_a_hypnogram_of_another_night_is_refused(tmp_path, of_file, words):
    path = psg(tmp_path / "n-PSG.edf", patient="X F X Female_33yr")
    own = hypnogram(tmp_path / "h.edf", (0, 300, "Sleep stage W"), **of_file)
    with pytest.raises(HypnogramFileError, match=words):
        open_edf(path, own)


def test_nights_of_sleep_edf_are_told_apart_by_name(tmp_path):
    path = psg(tmp_path / "SC4001E0-PSG.edf")
    with pytest.raises(HypnogramFileError, match="same night"):
        open_edf(path, hypnogram(tmp_path / "SC4002EC-Hypnogram.edf", (0, 300, "Sleep stage W")))


def test_a_hypnogram_that_starts_later_is_put_on_the_recordings_clock(tmp_path):
    path = psg(tmp_path / "n-PSG.edf")
    own = hypnogram(tmp_path / "h.edf", (0, 30, "Sleep stage 2"), (30, 180, "Sleep stage R"), time="16.14.00")
    night = open_edf(path, own)
    assert night.hypnogram.tolist() == [-1, -1, 2, 4, 4, 4, 4, 4, 4, -1]
    assert noted(night, "60 s behind the first sample") and noted(night, "3 epochs unscored: no label")


def test_dates_that_were_taken_away_leave_the_clock_to_compare(tmp_path):
    path = psg(tmp_path / "n-PSG.edf", date="01.01.85", time="23.50.00")
    night = open_edf(path, hypnogram(tmp_path / "h.edf", (0, 270, "Sleep stage 1"), date="07.06.07", time="23.50.30"))
    assert night.hypnogram.tolist() == [-1] + [1] * 9
    assert noted(night, "matched by the time of the day")


def test_a_hypnogram_without_a_start_begins_with_the_recording(tmp_path):
    own = hypnogram(tmp_path / "h.edf", (0, 60, "Sleep stage 1"), date="01.01.85", time="00.00.00")
    night = open_edf(psg(tmp_path / "n-PSG.edf"), own)
    assert night.hypnogram.tolist()[:3] == [1, 1, -1]
    assert noted(night, "both are taken to start together")


def test_trimming_keeps_the_middle_and_says_what_it_took(tmp_path):
    path = psg(tmp_path / "n-PSG.edf", n_records=400)
    own = hypnogram(
        tmp_path / "h.edf", (0, 4500, "Sleep stage W"), (4500, 30, "Sleep stage 1"), (4530, 60, "Movement time"),
        (4590, 30, "Sleep stage 2"), (4620, 7380, "Sleep stage W"),
    )  # fmt: skip
    opened = open_edf_night(path, own, trim=True)
    assert opened.night.n_epochs == 60 + 4 + 60
    assert opened.night.hypnogram[60:64].tolist() == [1, -1, -1, 2]
    assert opened.scored.reasons == ((61, 63, "Movement time"),)
    assert noted(opened.night, "trimmed to epochs 90 to 214 of 400: 276 epochs around sleep are left out")
    awake = open_edf(path, hypnogram(tmp_path / "w.edf", (0, 12000, "Sleep stage W")), trim=True)
    assert awake.n_epochs == 400 and noted(awake, "not trimmed")


# other readers, other files


def test_what_edfio_reads_rightly_comes_out_the_same(real_data):
    folder, n = real_data / "edf_files", 0
    if not folder.is_dir():
        pytest.skip("foreign EDF files are not at hand")
    for path in sorted(folder.iterdir()):
        header = read_header(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = (edfio.read_bdf if path.suffix == ".bdf" else edfio.read_edf)(path)
        own = [i for i, channel in enumerate(header.channels) if not channel.is_annotations]
        for number, signal in zip(own, theirs.signals, strict=True):
            if number % 20 == 0 and not header.channels[number].problem:
                from dreem_case.nights.edf import EdfSignal

                channel = header.channels[number]
                timeline = read_timeline(header)
                n_samples = channel.n_per_record * header.n_records
                values = EdfSignal(header, timeline, number, 1.0, channel.fs_hz, 0, n_samples).load().values
                expected = signal.data[:n_samples]
                np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-4 * np.abs(expected).max())
                n += 1
    assert n > 20


def test_every_foreign_file_is_a_night_or_a_named_error(real_data):
    folder, nights = real_data / "edf_files", 0
    if not folder.is_dir():
        pytest.skip("foreign EDF files are not at hand")
    for path in sorted(folder.iterdir()):
        try:
            night = open_edf(path).load()
        except CaseFileError as error:
            assert error.expected and error.found
            continue
        nights += 1
        assert all(np.isfinite(signal.values).any() for signal in night.signals.values())
    assert nights >= 6


def test_labels_that_are_eeg():
    eeg = ["EEG Fpz-Cz", "EEG", "C3", "F4-M1", "Fp1-Ref", "T10", "eeg pz-oz", "EEG F1-Ref", "A1", "EEG2", "EEG(sec)"]
    eeg += ["C4A1", "C3 M2", "Fp1_Ref"]
    other = ["EOG horizontal", "ECG", "Resp oro-nasal", "Status", "EDF Annotations", "Temp rectal", "C", "EEG-EOG", ""]
    other += ["EEGs", "C3PO3x", "EMG1"]
    assert [label for label in eeg + other if looks_like_eeg(label)] == eeg
    assert plain_name("EEG Fpz-Cz") == "Fpz-Cz" and plain_name("EEG") == "EEG"


# whatever a header holds

FIELD = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=8)
NUMBERS = st.one_of(
    FIELD, st.integers(-99999, 999999).map(str), st.floats(-1e4, 1e4).map(lambda x: f"{x:.5g}"[:8]),
    st.sampled_from(["0", "-1", "1", "30", "0,5", "1e9", "nan", "inf", "", "9" * 8]),
)  # fmt: skip
CHANNEL = st.fixed_dictionaries(
    {},
    optional={
        "label": st.one_of(FIELD, st.sampled_from(["EEG Fpz-Cz", "EDF Annotations", "C3"])), "unit": FIELD,
        "physical minimum": NUMBERS, "physical maximum": NUMBERS,
        "digital minimum": NUMBERS, "digital maximum": NUMBERS,
        "samples": st.one_of(NUMBERS, st.sampled_from(["3000", "100", "256"])),
    },
)  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.lists(CHANNEL, min_size=1, max_size=4), n_records=NUMBERS, record_s=NUMBERS,
    content=st.binary(max_size=200),
    size=st.integers(0, 40000), reserved=st.sampled_from(["", "EDF+C", "EDF+D", "24BIT"]),
    of_file=st.fixed_dictionaries({}, optional=dict.fromkeys(("date", "time", "patient", "bytes", "n"), FIELD)),
)  # fmt: skip
def test_whatever_a_header_says_is_a_night_or_a_named_error(
    tmp_path, channels, n_records, record_s, content, size, reserved, of_file
):
    path = tmp_path / "any.edf"
    data = (content * (size // max(len(content), 1) + 1))[:size]
    path.write_bytes(header_bytes(n_records, record_s, channels, reserved, **of_file) + data)
    try:
        night = open_edf(path).load()
    except CaseFileError as error:
        assert str(error).startswith("any: expected ")
        return
    for signal in night.signals.values():
        assert signal.fs_hz >= 100
        assert len(signal.values) >= night.n_epochs * 30 * signal.fs_hz - 1e-6
