import json
import os
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
    CaseFileError,
    HypnogramFileError,
    MissingSignalError,
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
    NotFiniteError,
    TooLongError,
    UnreadableFileError,
    UnsafeFileError,
    WrongShapeError,
    WrongTypeError,
)
from dreem_case.nights.stages import STAGE_NAMES, UNSCORED, HypnogramError, parse_hypnogram

REAL_DATA = Path(os.environ.get("DREEM_CASE_DATA", Path(__file__).parents[2] / "../shared/data"))


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
    ("change", "n_epochs", "note"),
    [
        (deleting("eeg3", "eeg7"), 2, "no eeg3, eeg7"),
        (
            replacing("eeg3", data=np.zeros(9000)),
            1,
            "derivations of unequal length (9000 samples in eeg3, 15000 in eeg1); the shortest counts",
        ),
        (deleting(*ACCELEROMETER_NAMES), 2, "no accelerometer"),
        (
            deleting("accelerometer_z"),
            2,
            "only accelerometer_x, accelerometer_y of the accelerometer, which is left out",
        ),
        (
            replacing("accelerometer_y", shape=0, dtype="f4"),
            2,
            "less than an epoch of accelerometer, which is left out",
        ),
        (
            replacing("accelerometer_y", data=np.zeros(2000)),
            2,
            "accelerometer of 60, 40, 60 s beside 60 s of whole EEG epochs",
        ),
    ],
)
def test_what_is_odd_is_noted_and_the_rest_is_used(altered, change, n_epochs, note):
    night = open_night(altered(change))
    assert note in night.notes
    assert night.n_epochs == n_epochs
    assert ("left out" in note or note == "no accelerometer") == (night.accelerometer_names == ())
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


def test_other_datasets_in_the_file_are_passed_over(altered):
    night = open_night(altered(replacing("temperature", data=["warm"])))
    assert "temperature" not in night.signals


def test_a_night_without_hypnogram_is_not_scored(altered):
    night = open_night(altered())
    assert night.hypnogram is None
    assert night.notes == ()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 6), st.integers(7500, 5 * 7500), st.lists(st.sampled_from(STAGE_NAMES), max_size=8))
def test_labels_meet_the_signal_at_its_start_whatever_the_lengths(tmp_path_factory, shortest, n_samples, names):
    folder = tmp_path_factory.mktemp("aligned")
    with h5py.File(folder / "night-1.h5", "w") as file:
        for i, name in enumerate(EEG_NAMES):
            file[name] = np.zeros(n_samples if i == shortest else 5 * 7500, np.int8)
    (folder / "night-1.json").write_text(json.dumps(names))
    n_epochs = n_samples // 7500
    if len(names) > n_epochs:
        with pytest.raises(TooManyLabelsError, match=f"at most {n_epochs} labels .* found {len(names)}$"):
            open_night(folder / "night-1.h5", folder / "night-1.json")
        return
    night = open_night(folder / "night-1.h5", folder / "night-1.json")
    assert night.n_epochs == len(night.hypnogram) == n_epochs
    assert night.hypnogram.dtype == np.int8
    assert night.hypnogram[: len(names)].tolist() == parse_hypnogram(names).tolist()
    assert (night.hypnogram[len(names) :] == UNSCORED).all()
    assert night.n_scored == len(names)
    unscored = f"{len(names)} labels for {n_epochs} epochs; the rest is unscored"
    assert (unscored in night.notes) == (len(names) < n_epochs)
    assert all(signal.n_samples >= n_epochs * 7500 for signal in night.signals.values())


# What is refused


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        (deleting(*EEG_NAMES), MissingSignalError, "expected at least one of eeg1, .*, found .'accelerometer_x'"),
        (replacing("eeg2", data=np.zeros(7499)), TooShortError, "at least 30 s in eeg2, found 29.996 s"),
        (replacing("eeg2", shape=0, dtype="f4"), TooShortError, "at least 30 s in eeg2, found 0 s"),
        (
            replacing("eeg2", shape=24 * 3600 * 250 + 1, dtype="f4", chunks=10**5),
            TooLongError,
            "at most 21600000 samples in eeg2, found 21600001",
        ),
        (
            replacing("accelerometer_x", shape=24 * 3600 * 50 + 1, dtype="f4", chunks=10**5),
            TooLongError,
            "at most 4320000 samples in accelerometer_x, found 4320001",
        ),
        (replacing("eeg2", data=np.zeros((7500, 2))), WrongShapeError, "one dimension in eeg2"),
        (replacing("accelerometer_x", data=["a"] * 3000), WrongTypeError, "integers or floats in accelerometer_x"),
        (replacing("eeg2", shape=7500, dtype="f4"), UnsafeFileError, "bytes stored for eeg2, found 0"),
    ],
)
def test_what_is_wrong_in_a_header_is_refused_on_opening(altered, change, error, found):
    with pytest.raises(error, match=f"^night-1: expected .*{found.removeprefix('expected ')}"):
        open_night(altered(change))


@pytest.mark.parametrize("name", ["eeg5", "accelerometer_y"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39, -1.1e12])
def test_values_that_are_not_finite_are_refused_when_their_channel_is_read(altered, name, bad):
    values = np.zeros(15_000 if name in EEG_NAMES else 3000)
    values[123] = bad
    night = open_night(altered(replacing(name, data=values)))
    night.signals["eeg1"]
    message = f"^night-1: expected finite values up to 1e.12 in {name}, found 1 .* sample 123$"
    with pytest.raises(NotFiniteError, match=message):
        night.signals[name]
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


def test_a_file_that_is_gone_after_opening_is_refused_on_access(altered):
    path = altered()
    night = open_night(path)
    path.unlink()
    with pytest.raises(UnreadableFileError, match="found no file"):
        night.signals["eeg7"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'["WAKE", "N3"]', "expected one of WAKE, N1, N2, DEEP, REM at epoch 1, found 'N3'"),
        (b'["WAKE", 0]', "at epoch 1, found 0"),
        (b'["WAKE", null]', "at epoch 1, found None"),
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


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_only_case_file_errors_come_out_of_any_hypnogram_file(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "any" / "h5" / "night-1.h5"
    if not path.exists():
        write_night(make_night(), folder / "any")
    (folder / "any.json").write_bytes(content)
    try:
        assert len(open_night(path, folder / "any.json").hypnogram) == 2
    except CaseFileError as error:
        assert str(error).startswith("night-1: expected ")


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
        write_night(make_night(2, [UNSCORED, 2], offset=5), tmp_path)
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


@pytest.mark.skipif(not (REAL_DATA / "raw_eeg" / "nap.h5").is_file(), reason="no real nap under DREEM_CASE_DATA")
def test_a_real_nap_opens_without_accelerometer_and_hypnogram():
    night = open_night(REAL_DATA / "raw_eeg" / "nap.h5")
    assert night.eeg_names == EEG_NAMES
    assert night.n_epochs == 50
    assert night.notes == ("the last 1 s are not a whole epoch and are left out", "no accelerometer")
    assert night.signals["eeg1"].n_samples == 375_250
    assert np.ptp(night.crop(10, 11).signals["eeg4"].values) > 1
