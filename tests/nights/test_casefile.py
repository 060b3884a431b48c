import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreem_case.nights.casefile import (
    ACCELEROMETER_NAMES,
    EEG_NAMES,
    HypnogramFileError,
    MissingSignalError,
    NotFiniteError,
    NotInFormatError,
    RecordNameError,
    TooManyLabelsError,
    TooShortError,
    check_record_name,
    open_night,
    read_night,
    write_night,
)
from dreem_case.nights.night import Night, Signal
from dreem_case.nights.safe_h5 import (
    TooLongError,
    UnreadableFileError,
    UnsafeFileError,
    WrongShapeError,
)
from dreem_case.nights.stages import STAGE_NAMES, UNSCORED, HypnogramError, Stage


def make_night(n_epochs=2, hypnogram=None, record="night-1", offset=0):
    eeg = np.arange(n_epochs * 7500, dtype=np.float32) + offset
    signals = {name: Signal(eeg + i, 250, "µV", "eeg") for i, name in enumerate(EEG_NAMES)}
    for name in ACCELEROMETER_NAMES:
        signals[name] = Signal(eeg[: n_epochs * 1500], 50, "g", "accelerometer")
    return Night(record, signals, n_epochs, hypnogram)


@pytest.fixture
def altered(tmp_path):
    "Write a night, alter its h5 file, and return the path."

    def altered(change=lambda file: None, n_epochs=2):
        path = write_night(make_night(n_epochs), tmp_path)
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return altered


def replacing(name, **options):
    def change(file):
        if name in file:
            del file[name]
        file.create_dataset(name, **options)

    return change


def leading(name, place):
    def change(file):
        del file[name]
        file[name] = h5py.SoftLink(place)

    return change


def deleting(*names):
    def change(file):
        for name in names:
            del file[name]

    return change


def test_a_written_night_reads_back_the_same(tmp_path):
    night = make_night(3, [0, 4, UNSCORED])
    path = write_night(night, tmp_path)
    assert path == tmp_path / "h5" / "night-1.h5"
    labels = tmp_path / "hypnograms" / "night-1.json"
    assert json.loads(labels.read_text()) == ["WAKE", "REM"]
    for back in open_night(path, labels), read_night(str(path), str(labels)):
        assert back.record == "night-1"
        assert back.n_epochs == 3
        assert back.hypnogram.tolist() == [0, 4, UNSCORED]
        assert back.eeg_names == EEG_NAMES
        assert back.accelerometer_names == ACCELEROMETER_NAMES
        for name, signal in night.signals.items():
            assert (back.signals[name].values == signal.values).all()
            assert back.signals[name].fs_hz == signal.fs_hz
            assert back.signals[name].unit == signal.unit
            assert back.signals[name].kind == signal.kind


def test_a_complete_and_fully_scored_night_has_no_notes(tmp_path):
    path = write_night(make_night(2, [0, 0]), tmp_path)
    assert open_night(path, tmp_path / "hypnograms" / "night-1.json").notes == ()


def test_files_are_float32_uncompressed_and_in_one_piece(tmp_path):
    with h5py.File(write_night(make_night(), tmp_path)) as file:
        assert sorted(file) == sorted([*EEG_NAMES, *ACCELEROMETER_NAMES])
        for dataset in file.values():
            assert dataset.dtype == "<f4"
            assert dataset.chunks is None
            assert dataset.compression is None


# What is odd and usable


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (deleting("eeg3", "eeg7"), "no eeg3, eeg7"),
        (replacing("eeg3", data=np.zeros(9000)), "eeg3 ends after 36 s of 60 s and is missing from there on"),
        (replacing("eeg3", data=np.zeros(7499)), "eeg3 is left out: expected at least 30 s in eeg3, found 29.996 s"),
        (leading("eeg3", "/nowhere"), "eeg3 is left out: expected a dataset eeg3, found a link that leads nowhere"),
        (
            replacing("eeg3", shape=24 * 3600 * 250 + 1, dtype="f4", chunks=10**5),
            "eeg3 is left out: expected at most 21600000 samples in eeg3, found 21600001",
        ),
        (deleting(*ACCELEROMETER_NAMES), "no accelerometer"),
        (deleting("accelerometer_z"), "only accelerometer_x, accelerometer_y of the accelerometer, which is left out"),
        (
            replacing("accelerometer_y", shape=0, dtype="f4"),
            "less than an epoch of accelerometer, which is left out",
        ),
        (replacing("accelerometer_y", data=np.zeros(2000)), "accelerometer of 60, 40, 60 s beside 60 s of whole EEG"),
        (
            lambda file: [replacing(name, data=np.zeros(7500))(file) for name in ACCELEROMETER_NAMES],
            "accelerometer of 150, 150, 150 s beside 60 s of whole EEG epochs: the lengths fit EEG at 100 Hz; if so, ",
        ),
    ],
)
def test_what_is_odd_is_noted_and_the_rest_is_used(altered, change, note):
    night = open_night(altered(change))
    assert [found for found in night.notes if found.startswith(note)]
    assert night.n_epochs == 2
    without = note == "no accelerometer" or ("left out" in note and "eeg" not in note)
    assert without == (night.accelerometer_names == ())
    night.load()
    assert len({night.signals.header(name).n_samples for name in night.accelerometer_names}) <= 1


def test_a_last_epoch_that_is_not_whole_is_left_out_and_noted(altered):
    def change(file):
        for name in EEG_NAMES:
            replacing(name, data=np.zeros(20_000))(file)

    night = open_night(altered(change))
    assert night.n_epochs == 2
    assert "the last 20 s are not a whole epoch and are left out" in night.notes


def test_an_accelerometer_that_ends_within_the_last_epoch_is_not_odd(altered):
    def change(file):
        for name in EEG_NAMES:
            replacing(name, data=np.zeros(20_000))(file)
        for name in ACCELEROMETER_NAMES:
            replacing(name, data=np.zeros(4000))(file)

    assert not [note for note in open_night(altered(change)).notes if "accelerometer" in note]


def test_one_derivation_is_enough(altered):
    night = open_night(altered(deleting(*EEG_NAMES[1:], *ACCELEROMETER_NAMES)))
    assert list(night.signals) == ["eeg1"]
    assert night.notes == ("no eeg2, eeg3, eeg4, eeg5, eeg6, eeg7", "no accelerometer")


def test_other_datasets_in_the_file_are_not_read_and_named(altered):
    night = open_night(altered(replacing("temperature", data=["warm"])))
    assert "temperature" not in night.signals and "not read: temperature" in night.notes


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 6), st.integers(7500, 5 * 7500), st.lists(st.sampled_from(STAGE_NAMES), max_size=8))
def test_labels_meet_the_signal_at_its_start_whatever_the_lengths(tmp_path_factory, shortest, n_samples, names):
    folder = tmp_path_factory.mktemp("aligned")
    with h5py.File(folder / "night-1.h5", "w") as file:
        for i, name in enumerate(EEG_NAMES):
            file[name] = np.zeros(7500 if i == shortest else n_samples, np.int8)
    (folder / "night-1.json").write_text(json.dumps(names))
    n_epochs = n_samples // 7500
    if len(names) > n_epochs + 1:
        with pytest.raises(TooManyLabelsError, match=f"at most {n_epochs} labels .* found {len(names)}$"):
            open_night(folder / "night-1.h5", folder / "night-1.json")
        return
    names = names[:n_epochs]
    night = open_night(folder / "night-1.h5", folder / "night-1.json")
    assert night.n_epochs == len(night.hypnogram) == n_epochs
    assert night.hypnogram.dtype == np.int8
    assert night.hypnogram[: len(names)].tolist() == [Stage[name] for name in names]
    assert (night.hypnogram[len(names) :] == UNSCORED).all()
    assert night.n_scored == len(names)
    unscored = f"{len(names)} labels for {n_epochs} epochs; the rest is unscored"
    assert (unscored in night.notes) == (len(names) < n_epochs)
    assert all(signal.n_samples >= n_epochs * 7500 for signal in night.signals.values())


# Units and rates by attributes


def described(name, data, **attributes):
    def change(file):
        replacing(name, data=data)(file)
        file[name].attrs.update(attributes)

    return change


WAVE = (30 * np.sin(np.arange(15_000) / 7)).astype("f4")


@pytest.mark.parametrize(
    ("attributes", "factor"),
    [
        ({"units": "V"}, 1e-6),
        ({"Unit": "volts"}, 1e-6),
        ({"unit": "mV"}, 1e-3),
        ({"units": "nV"}, 1e3),
        ({"units": np.bytes_("millivolt")}, 1e-3),
        ({"units": "mVolt"}, 1e-3),
        ({"units": "millivol"}, 1e-3),  # of EDF's eight letters
        ({"units": "nanovolts"}, 1e3),
        ({"units": "uVolt"}, 1),
        ({"units": "microvolts"}, 1),
        ({"units": "microvol"}, 1),
        ({"units": "µV"}, 1),
        ({"units": "μV"}, 1),
        ({"units": ["uV"]}, 1),
        ({}, 1),
        ({"units": "mV", "scale_factor": 0.5, "add_offset": 0.0}, 2e-3),
        ({"units": "mV", "scale_factor": "0.5"}, 2e-3),
        ({"scale_factor": 0.0}, 1),
    ],
)
def test_eeg_in_any_unit_that_the_file_names_comes_in_microvolts(altered, attributes, factor):
    night = open_night(altered(described("eeg1", WAVE * factor, **attributes)))
    assert np.allclose(night.signals["eeg1"].values, WAVE, atol=1e-3)
    assert night.signals["eeg1"].unit == "µV"
    assert bool(night.notes) == (factor != 1)
    assert all("eeg1 " in note and "attributes" in note for note in night.notes)


def test_counts_with_an_offset_come_in_microvolts(altered):
    counts = np.round(WAVE / 0.05).astype("i4") + 8_388_608
    attributes = {"units": "counts", "scale_factor": 0.05, "add_offset": -8_388_608 * 0.05}
    night = open_night(altered(described("eeg1", counts, **attributes)))
    assert np.abs(night.signals["eeg1"].values - WAVE).max() < 0.03
    unknown = open_night(altered(described("eeg1", counts, units="counts")))
    assert unknown.signals["eeg1"].unit == "counts"
    assert "eeg1 in counts without a scale_factor, by the file's attributes" in unknown.notes


@pytest.mark.parametrize(("unit", "factor"), [("mg", 1e3), ("m/s²", 9.80665), ("m/s^2", 9.80665), ("m s-2", 9.80665)])
def test_an_accelerometer_in_any_unit_that_the_file_names_comes_in_g(altered, unit, factor):
    still = np.full(3000, 0.5)

    def change(file):
        for name in ACCELEROMETER_NAMES:
            described(name, still * factor, units=unit)(file)

    night = open_night(altered(change))
    assert np.allclose(night.signals["accelerometer_z"].values, still)
    assert any(f"in {unit}, converted to g" in note for note in night.notes)


def test_a_unit_that_is_not_known_is_named_in_a_note(altered):
    night = open_night(altered(described("eeg1", WAVE, units="furlong")))
    assert "eeg1 in furlong, which is no unit known here: taken as µV, by the file's attributes" in night.notes
    assert (night.signals["eeg1"].values == WAVE).all()


@pytest.mark.parametrize(
    ("given", "fs_hz"), [(200, 200), ("256 Hz", 256), ("500", 500), (np.float32(100), 100), ("2e2hz ", 200)]
)
@pytest.mark.parametrize("name", ["fs", "sampling_rate", "sfreq", "SampleRate", "Sampling Rate Hz"])
def test_a_rate_that_the_file_names_counts(altered, name, given, fs_hz):
    def change(file):
        for channel in EEG_NAMES:
            described(channel, np.zeros(60 * fs_hz, "f4"), **{name: given})(file)

    night = open_night(altered(change))
    assert night.n_epochs == 2
    assert night.signals["eeg1"].fs_hz == fs_hz
    assert any(f"at {fs_hz} Hz, by the file's attributes" in note for note in night.notes)


def test_a_rate_in_a_matrix_of_one_number_counts(altered):
    night = open_night(altered(described("eeg1", np.zeros(60 * 125, "f4"), Fs=np.array([[125.0]]))))
    assert night.signals["eeg1"].fs_hz == 125


def test_a_rate_of_the_whole_file_is_that_of_eeg_which_names_none(altered):
    def change(file):
        file.attrs["fs"] = 500
        described("eeg1", np.zeros(60 * 500))(file)
        described("eeg2", np.zeros(60 * 200), sampling_rate=200)(file)

    signals = open_night(altered(change)).signals
    rates = [signals.header(name).fs_hz for name in ("eeg1", "eeg2", "accelerometer_x")]
    assert rates == [500, 200, 50]


@pytest.mark.parametrize("given", [7, 0, -250, 1e9, np.nan, np.inf, 250.001, "0.5 kHz", "n/a"])
def test_a_rate_that_is_of_no_use_loses_its_channel_only(altered, given):
    night = open_night(altered(described("eeg1", WAVE, fs=given)))
    assert "eeg1" not in night.signals
    (note,) = (note for note in night.notes if "eeg1" in note)
    assert note.startswith("eeg1 is left out: expected eeg1 at 100 to 1000 Hz")
    assert "np." not in note


@pytest.mark.parametrize("fs_hz", [200, 256, 500])
def test_a_rate_that_nobody_names_is_guessed_by_the_lengths_and_named(altered, fs_hz):
    def change(file):
        for channel in EEG_NAMES:
            replacing(channel, data=np.zeros(7200 * fs_hz, "i1"))(file)
        for channel in ACCELEROMETER_NAMES:
            replacing(channel, data=np.zeros(7200 * 50, "i1"))(file)

    notes = " ".join(open_night(altered(change)).notes)
    assert "the lengths fit" in notes
    assert f"EEG at {fs_hz} Hz" in notes


# Labels of other tools


@pytest.mark.parametrize(
    ("labels", "stages"),
    [
        (["WAKE", "ARTEFACT", "N2"], [0, -1, 2]),
        (["WAKE", None, "N2"], [0, -1, 2]),
        (["WAKE", -1, "N2"], [0, -1, 2]),
        (["WAKE", "N3", "R"], [0, 3, 4]),
        (["W", "S4", "n1"], [0, 3, 1]),
        (["Sleep stage W", "Sleep stage 3", "Sleep stage ?"], [0, 3, -1]),
        (["NS", "?", "MT"], [-1, -1, -1]),
        ({"numbering": "aasm", "stages": [0, 5, -1]}, [0, 4, -1]),
        ({"numbering": "rem_last", "stages": [0, 3, 4]}, [0, 3, 4]),
    ],
)
def test_labels_of_other_tools_are_understood(altered, tmp_path, labels, stages):
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    assert open_night(altered(n_epochs=3), tmp_path / "labels.json").hypnogram.tolist() == stages


def test_labels_by_other_names_are_named_in_a_note(altered, tmp_path):
    (tmp_path / "labels.json").write_text('["W", "N3", "WAKE"]')
    assert open_night(altered(n_epochs=3), tmp_path / "labels.json").notes == ("labels named as other tools do: N3, W",)


@pytest.mark.parametrize(("numbering", "stages"), [("aasm", [0, 3, 4]), ("rem_last", [0, 3, -2])])
def test_numbers_are_refused_unless_their_numbering_is_named(altered, tmp_path, numbering, stages):
    labels = tmp_path / "labels.json"
    labels.write_text('[0, 3, "5"]' if numbering == "aasm" else '[0, 3, 5]')
    both = r"'rem_last' \(0 1 2 3 4 = .*\) or 'aasm' \(0 1 2 3 5\) at epoch 0, found 0"
    with pytest.raises(HypnogramFileError, match=both):
        open_night(altered(n_epochs=3), labels)
    if numbering == "aasm":
        assert open_night(altered(n_epochs=3), labels, numbering).hypnogram.tolist() == stages
    else:
        with pytest.raises(HypnogramFileError, match="a number of 'rem_last' at epoch 2, found 5"):
            open_night(altered(n_epochs=3), labels, numbering)
    with pytest.raises(HypnogramFileError, match="a numbering of stages"):
        open_night(altered(n_epochs=3), labels, "r&k")


def test_one_label_too_many_is_a_note(altered, tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps(["N2"] * 3))
    night = open_night(altered(), tmp_path / "labels.json")
    assert night.hypnogram.tolist() == [2, 2]
    assert night.notes == ("3 labels for 2 whole epochs; the last one is left out",)


def test_unscored_epochs_in_the_middle_are_written_and_read_back(tmp_path):
    path = write_night(make_night(3, [0, UNSCORED, 2]), tmp_path)
    night = open_night(path, tmp_path / "hypnograms" / "night-1.json")
    assert night.hypnogram.tolist() == [0, UNSCORED, 2]
    assert night.notes == ("1 epochs that the labels leave unscored",)


def test_a_bad_hypnogram_leaves_the_signals_where_they_are_asked_for(altered, tmp_path):
    (tmp_path / "labels.json").write_text("[0, 1]")
    night = open_night(altered(), tmp_path / "labels.json", keep_signals=True)
    assert night.hypnogram is None
    assert night.notes[0].startswith("the hypnogram is not used: expected names, or a numbering: 'rem_last'")
    with pytest.raises(HypnogramFileError, match="expected names, or a numbering"):
        read_night(altered(), tmp_path / "labels.json")


# What is refused


def alone(**options):
    def change(file):
        deleting(*EEG_NAMES)(file)
        replacing("eeg2", **options)(file)

    return change


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        (deleting(*EEG_NAMES), MissingSignalError, "expected at least one of eeg1, .*, found .'accelerometer_x'"),
        (alone(data=np.zeros(7499)), TooShortError, "at least 30 s in eeg2, found 29.996 s"),
        (alone(shape=2**31, dtype="f4", chunks=10**5), TooLongError, "at most 86400000 samples in eeg2, found 2"),
        (replacing("eeg2", shape=7500, dtype="f4"), UnsafeFileError, "bytes stored for eeg2, found 0"),
    ],
)
def test_what_is_wrong_in_a_header_is_refused_on_opening(altered, change, error, found):
    with pytest.raises(error, match=f"^night-1: expected .*{found.removeprefix('expected ')}"):
        open_night(altered(change))


@pytest.mark.parametrize("name", ["eeg5", "accelerometer_y"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39, -1.1e12])
def test_values_that_are_no_numbers_are_gaps_of_their_channel(altered, name, bad):
    values = np.zeros(15_000 if name in EEG_NAMES else 3000)
    values[123] = bad
    night = open_night(altered(replacing(name, data=values)))
    assert np.flatnonzero(np.isnan(night.signals[name].values)).tolist() == [123]
    assert night.crop(1).signals[name].values.max() == 0


@pytest.mark.parametrize("n_bytes", [0, 1, 8, 100, 2000, 50_000, 300_000])
def test_a_truncated_file_is_refused(altered, n_bytes):
    path = altered()
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(UnreadableFileError, match=r"^night-1: expected a whole HDF5 file, found one that"):
        open_night(path)


def test_a_file_that_is_cut_after_opening_is_refused_on_access(altered):
    path = altered()
    night = open_night(path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UnreadableFileError):
        night.signals["eeg7"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'["WAKE", "N5"]', "expected one of WAKE, N1, N2, DEEP, REM at epoch 1, found 'N5'"),
        (b'["WAKE", 0]', "at epoch 1, found 0"),
        (b'["WAKE", true]', "at epoch 1, found True"),
        (b'["WAKE", 1e999]', "at epoch 1, found inf"),
        (b'{"numbering": "x", "stages": [1]}', "expected a numbering of stages, 'rem_last'"),
        (b'{"numbering": "aasm", "stages": 1}', "expected a JSON list of stage names, found a int"),
        (b'[["WAKE"]]', "at epoch 0, found a list"),
        (b'["a, found b"]', "at epoch 0, found 'a, found b'"),
        (b'{"stages": []}', "expected a JSON list of stage names, found a dict"),
        (b'"WAKE"', "found a str"),
        (b"null", "found a NoneType"),
        (b"NaN", "found a float"),
        (b"", "found something else"),
        (b"[" * 200_000, "found something else"),
        (b'["WAKE"', "found something else"),
        (b"1" * 10_000, "found something else"),
        (b"\xff\xfe\x00", "found something else"),
        (b" " * 300_000, "expected at most 262144 bytes of hypnogram, found more"),
    ],
)
def test_a_bad_hypnogram_file_is_refused(altered, tmp_path, content, found):
    labels = tmp_path / "night-1.json"
    labels.write_bytes(content)
    with pytest.raises(HypnogramFileError) as caught:
        open_night(altered(), labels)
    assert found in str(caught.value)
    assert str(caught.value).startswith("night-1: expected ")
    assert len(str(caught.value)) < 300


def test_a_hypnogram_that_is_named_and_not_there_is_refused(altered, tmp_path):
    with pytest.raises(HypnogramFileError, match="found no readable file"):
        open_night(altered(), tmp_path / "absent.json")
    with pytest.raises(HypnogramFileError, match="found something that is no regular file"):
        open_night(altered(), tmp_path)


# Lazy nights


def test_an_open_night_reads_the_file_at_each_access(altered):
    path = altered()
    night = open_night(path)
    assert night.signals["eeg1"].values[0] == 0
    with h5py.File(path, "a") as file:
        file["eeg1"][0] = 7
    assert night.signals["eeg1"].values[0] == 7
    assert night.load().signals["eeg1"].values[0] == 7


def test_a_cropped_open_night_reads_only_its_part(altered):
    def change(file):
        file["eeg1"][:7500] = np.nan

    part = open_night(altered(change, n_epochs=4)).crop(1, 3).crop(1)
    assert part.n_epochs == 1
    assert part.signals["eeg1"].values.tolist() == list(range(15_000, 22_500))


def first_value(night):
    return float(night.signals["eeg2"].values[0])


def test_an_open_night_can_be_sent_to_another_process(altered):
    night = open_night(altered()).crop(1)
    assert len(pickle.dumps(night)) < 5000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(first_value, night).result() == 7501


# Writing


@pytest.mark.parametrize("record", ["../x", "", ".x", "a/b", "a\\b", "a b", "é", "a" * 129, "a\n", None, 7, "a:b", "~"])
def test_a_record_name_that_is_no_safe_file_name_is_refused(tmp_path, record):
    with pytest.raises(RecordNameError, match=r"^record: expected a name of at most 128"):
        check_record_name(record)
    with pytest.raises(RecordNameError):
        write_night(make_night(record=record), tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True))
def test_a_safe_record_name_is_one_part_of_a_path(record):
    assert Path("folder", check_record_name(record) + ".h5").stem == record
    assert len(Path(record).parts) == 1


@pytest.mark.parametrize(
    ("name", "signal", "error", "found"),
    [
        ("eeg8", Signal(np.zeros(7500), 250, "µV", "eeg"), NotInFormatError, "found eeg8 at 250 Hz"),
        ("eeg1", Signal(np.zeros(7500), 100, "µV", "eeg"), NotInFormatError, "found eeg1 at 100 Hz"),
        ("eeg1", Signal(np.full(7500, np.nan), 250, "µV", "eeg"), NotFiniteError, "found 7500 NaN, infinite or larger"),
        ("eeg1", Signal(np.full(7500, 1e300), 250, "µV", "eeg"), NotFiniteError, "found 7500 NaN, infinite or larger"),
        ("eeg1", Signal(np.zeros((7500, 1)), 250, "µV", "eeg"), WrongShapeError, "found shape"),
    ],
)
def test_a_night_that_the_format_cannot_hold_is_not_written(tmp_path, name, signal, error, found):
    with pytest.raises(error, match=found):
        write_night(Night("night-1", {name: signal}, 1, [0]), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_stages_that_the_format_cannot_hold_leave_what_was_there(tmp_path):
    path = write_night(make_night(2, [1, 2]), tmp_path)
    with pytest.raises(HypnogramError, match=r"^night-1: expected a stage code at epoch 0"):
        write_night(make_night(2, [7, 2], offset=5), tmp_path)
    back = open_night(path, tmp_path / "hypnograms" / "night-1.json")
    assert back.hypnogram.tolist() == [1, 2]
    assert back.signals["eeg1"].values[0] == 0


def test_a_write_that_fails_half_way_leaves_what_was_there(tmp_path):
    path = write_night(make_night(2, [1, 2]), tmp_path)
    before = sorted(tmp_path.rglob("*"))
    signals = dict(make_night(offset=5).signals.items())
    signals["accelerometer_z"] = Signal(np.full(3000, np.inf), 50, "g", "accelerometer")
    with pytest.raises(NotFiniteError):
        write_night(Night("night-1", signals, 2, [3, 3]), tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    back = open_night(path, tmp_path / "hypnograms" / "night-1.json")
    assert back.hypnogram.tolist() == [1, 2]
    assert back.signals["eeg1"].values[0] == 0


def test_writing_a_night_again_without_stages_takes_the_old_ones_away(tmp_path):
    write_night(make_night(2, [1, 2]), tmp_path)
    write_night(make_night(2), tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["night-1.h5"]


def test_a_night_is_written_over_the_file_it_is_read_from(tmp_path):
    path = write_night(make_night(4, [0, 1, 2, 3]), tmp_path)
    labels = tmp_path / "hypnograms" / "night-1.json"
    write_night(open_night(path, labels).crop(1, 3), tmp_path)
    back = open_night(path, labels)
    assert back.hypnogram.tolist() == [1, 2]
    assert back.signals["eeg1"].values[0] == 7500


# Real data


def test_a_real_nap_opens_without_accelerometer_and_hypnogram(real_data):
    night = open_night(real_data / "raw_eeg" / "nap.h5")
    assert night.eeg_names == EEG_NAMES
    assert night.n_epochs == 50
    assert night.notes == ("the last 1 s are not a whole epoch and are left out", "no accelerometer")
    assert night.signals["eeg1"].n_samples == 375_250
    assert np.ptp(night.crop(10, 11).signals["eeg4"].values) > 1
