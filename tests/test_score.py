"""Scores: one row per epoch whatever happens, and a named error where nothing can be staged."""

import numpy as np
import pytest

from dreem_case.clean import Quality
from dreem_case.night import Night, Signal
from dreem_case.score import NoUsableEEG, score_night
from dreem_case.stager import ForestStager
from dreem_case.stages import Stage, parse_hypnogram
from dreem_case.store import open_store


@pytest.fixture(scope="module")
def nights(short_nights):
    store = open_store(str(short_nights))
    return [store.open_night(record) for record in store.records()]


@pytest.fixture(scope="module")
def stager(nights):
    stager = ForestStager(n_trees=8)
    training = nights[1:]
    return stager.fit([stager.prepare(night) for night in training], [night.hypnogram for night in training])


@pytest.fixture(scope="module")
def score(nights, stager):
    return score_night(nights[0], stager)


def test_every_whole_epoch_has_a_row(nights, score):
    n = nights[0].n_epochs
    assert score.stages.shape == score.usable.shape == score.confidence.shape == (n,)
    assert score.probabilities.shape == (n, 5)
    assert score.quality.shape == score.weights.shape == (7, n)
    assert np.array_equal(parse_hypnogram(score.stage_names), score.stages)


def test_the_hypnogram_of_the_night_is_not_looked_at(nights, stager, score):
    night = nights[0]
    bare = Night(night.record, night.signals, night.n_epochs)
    assert np.array_equal(score_night(bare, stager).probabilities, score.probabilities)


def test_the_statistics_are_those_of_the_stages(score):
    assert score.statistics.recorded_min == score.n_epochs / 2
    assert score.statistics.stage_min[Stage.REM] == np.sum(score.stages == Stage.REM) / 2


def test_the_score_names_its_model(stager, score):
    assert score.model_version == stager.version


@pytest.mark.parametrize("names", [["eeg4"], ["eeg7", "eeg1"]])
def test_any_derivations_are_staged_without_accelerometer(nights, stager, names):
    score = score_night(nights[0].select(names), stager)
    assert score.n_epochs == nights[0].n_epochs
    assert score.channel_names == tuple(names)
    assert "staged by EEG alone" in score.notes


def test_a_derivation_turned_upside_down_changes_nothing(nights, stager, score):
    night = nights[0].load()
    turned = {
        name: Signal(-s.values, s.fs_hz, s.unit, s.kind) if name == "eeg4" else s for name, s in night.signals.items()
    }
    found = score_night(Night(night.record, turned, night.n_epochs), stager)
    assert np.mean(found.stages == score.stages) > 0.98


def test_epochs_without_any_signal_are_marked_and_staged(nights, stager):
    night = nights[0].load()
    values = night.signals["eeg4"].values.copy()
    values[20 * 7500 : 30 * 7500] = -2.4e6
    off = Night("off", {"eeg4": Signal(values, 250, "µV", "eeg")}, night.n_epochs)
    score = score_night(off, stager)
    assert score.n_epochs == night.n_epochs
    assert not score.usable[21:29].any()
    assert np.all(score.quality[0, 21:29] == Quality.OFF)
    assert np.isfinite(score.probabilities).all()
    assert any("without usable EEG" in note for note in score.notes)


def test_a_night_without_any_usable_eeg_is_an_error_with_a_name(stager):
    dead = Night("dead", {"eeg1": Signal(np.full(75_000, -2.4e6, np.float32), 250, "µV", "eeg")}, 10)
    with pytest.raises(NoUsableEEG, match="dead: expected at least one epoch with a usable EEG channel"):
        score_night(dead, stager)


def test_a_night_without_eeg_channels_is_an_error_with_a_name(stager):
    deaf = Night("deaf", {"accelerometer_x": Signal(np.zeros(15_000), 50, "g", "accelerometer")}, 10)
    with pytest.raises(NoUsableEEG, match=r"deaf: expected an EEG channel .* found accelerometer_x"):
        score_night(deaf, stager)


def test_the_real_nap_is_staged_without_hypnogram_or_accelerometer(real_data, stager):
    from dreem_case.casefile import open_night

    score = score_night(open_night(real_data / "raw_eeg" / "nap.h5"), stager)
    assert score.n_epochs == 50
    assert score.usable.all()
