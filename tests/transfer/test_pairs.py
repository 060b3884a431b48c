"""Simulated pairs have the form of Sleep-EDF, come back as they were, and are staged by what the case has."""

import numpy as np
import pytest

from dreem_case.nights.edf import open_edf_night
from dreem_case.nights.edf_header import read_header
from dreem_case.nights.stages import STAGES
from dreem_case.transfer import pairs
from dreem_case.transfer.recordings import count_hypnogram, reader_cases

pytest.importorskip("edfio", reason="reading EDF is an extra")


@pytest.fixture(scope="module")
def recorded():
    """A person of each device, with half an hour of wake around a night."""
    return {device: pairs.record_person(0, device, seed=3, hours_awake=(0.5, 0.25)) for device in pairs.DEVICES}


@pytest.fixture(scope="module")
def folder(recorded, tmp_path_factory):
    """The files of these people."""
    place = tmp_path_factory.mktemp("pairs")
    for own in recorded.values():
        pairs.write_pair(place, own)
    return place


def test_the_header_is_that_of_a_real_recording(folder, real_data):
    path = real_data / "sleep_edf" / "SC4001E0-first-5-min-PSG.edf"
    if not path.is_file():
        pytest.skip("a real recording is not at hand")
    real, made = read_header(path), read_header(folder / "SC4001E0-PSG.edf")
    assert [c.label for c in made.channels] == [c.label for c in real.channels]
    assert [c.fs_hz for c in made.channels] == [c.fs_hz for c in real.channels]
    assert [c.unit for c in made.channels] == [c.unit for c in real.channels]
    assert (made.format, made.record_s, made.record_bytes) in {
        (f, real.record_s, real.record_bytes) for f in ("EDF", "EDF+C")
    }
    assert made.notes == real.notes == ()


def test_words_are_those_of_the_database(folder):
    words = {label.text for path in folder.glob("*Hypnogram.edf") for label in count_hypnogram(path).scoring.labels}
    assert {"Sleep stage 4", "Movement time", "Sleep stage ?", "Sleep stage W"} <= words
    assert words <= {*(f"Sleep stage {x}" for x in "W1234R?"), "Movement time"}


def test_signals_and_labels_come_back(recorded, folder):
    made = recorded["a"]
    opened = open_edf_night(folder / "SC4001E0-PSG.edf", folder / "SC4001EC-Hypnogram.edf")
    values = opened.night.signals["Fpz-Cz"].values
    np.testing.assert_allclose(values, made.signals["EEG Fpz-Cz"], atol=0.06)  # half a step of 12 bits
    assert opened.night.n_epochs == len(made.labels)
    assert [word == "Movement time" for word in made.labels] == (opened.night.hypnogram < 0).tolist()
    assert set(np.unique(opened.night.hypnogram)) >= set(STAGES)


def test_devices_differ_and_people_are_on_one_side(folder):
    nights = dict(pairs.read_pairs(folder))
    assert list(nights) == ["SC400", "SC450"]
    assert [person for person, _ in pairs.read_pairs(folder, "b")] == ["SC450"]
    loudest = {person: np.abs(night.signals["Fpz-Cz"].values).max() for person, night in nights.items()}
    assert loudest["SC400"] <= 192.1 and loudest["SC450"] <= 300.1


def test_arguments_that_cannot_be_are_refused(tmp_path):
    for n, device in ((0, "a"), (51, "a"), (1, "c")):
        with pytest.raises(ValueError, match="pairs: expected 1 to 50 people"):
            pairs.write_pairs(tmp_path, n, device)


def test_no_odd_file_gives_a_wrong_number_without_a_word():
    for case in reader_cases():
        right = case.truth.removeprefix("-").split()[0] in case.here
        assert right or case.here.startswith("error:") or "taken as" in case.here, case
        assert case.what == "as it should be" or ";" in case.here or case.here.startswith("error:")
