"""Scores: one row per epoch whatever happens, and a named error where nothing can be staged."""

import json

import numpy as np
import pytest

from dreem_case.nights.night import Night, Signal
from dreem_case.nights.stages import Stage, parse_hypnogram
from dreem_case.nights.store import open_store
from dreem_case.staging.clean import Quality
from dreem_case.staging.forest import ForestStager
from dreem_case.staging.score import NoUsableEEG, feature_shift, score_document, score_night
from dreem_case.staging.stager import TimeOfNightStager
from dreem_case.staging.stagers import load_stager


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


def test_the_score_says_what_a_person_should_look_at(nights, short_model):
    stager = load_stager(short_model)
    score = score_night(nights[0], stager)
    assert np.array_equal(score.review, stager.review(score.probabilities))
    assert score.confidence[score.review].max() <= score.confidence[~score.review].min()
    assert score_document(score, "x")["review"] == score.review.tolist()
    assert 0 < score.review.sum() < score.n_epochs


def test_the_score_names_its_model(stager, score):
    assert score.model_version == stager.version


@pytest.mark.parametrize("names", [["eeg4"], ["eeg7", "eeg1"]])
def test_any_derivations_are_staged_without_accelerometer(nights, stager, names):
    score = score_night(nights[0].select(names), stager)
    assert score.n_epochs == nights[0].n_epochs
    assert score.channel_names == tuple(names)
    assert not any("accelerometer" in note for note in score.notes)  # nobody asked for one


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


def scaled(night, gain):
    eeg = night.select(night.eeg_names)
    signals = {name: Signal(s.values * gain, s.fs_hz, s.unit, s.kind) for name, s in eeg.signals.items()}
    return Night(night.record, signals, night.n_epochs)


def test_the_document_says_the_same_as_the_score(score):
    document = score_document(score, "simulated nights")
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["record"], document["source"]) == (score.record, "simulated nights")
    assert document["stages"] == score.stage_names
    assert document["stage_names"] == [stage.name for stage in Stage]
    assert np.allclose(document["probabilities"], score.probabilities, atol=5e-5)
    assert np.allclose(document["confidence"], score.confidence, atol=5e-5)
    assert document["usable"] == score.usable.tolist()
    assert document["review"] == [False] * score.n_epochs  # a forest has no measure of its doubt
    assert [channel["name"] for channel in document["channels"]] == list(score.channel_names)
    for channel, quality, weight in zip(document["channels"], score.quality, score.weights, strict=True):
        assert [Quality[name] for name in channel["quality"]] == quality.tolist()
        assert np.allclose(channel["weight"], weight, atol=0.0051)
    statistics = document["statistics"]
    assert statistics["sleep_min"] == score.statistics.sleep_min
    assert statistics["stage_min"] == {Stage(code).name: m for code, m in score.statistics.stage_min.items()}
    assert document["n_epochs"] == score.n_epochs == len(document["stages"])


def test_what_is_undefined_is_null_in_the_document(nights):
    wake = [np.zeros(night.n_epochs, np.int8) for night in nights]
    prepared = [TimeOfNightStager().prepare(night) for night in nights]
    document = score_document(score_night(nights[0], TimeOfNightStager().fit(prepared, wake)), "x")
    assert document["statistics"]["onset_latency_min"] is None
    assert document["statistics"]["rem_latency_min"] is None
    assert document["feature_shift"] is None


def test_a_training_night_is_close_and_a_wrong_gain_is_far(nights, stager):
    shifts = [score_night(scaled(nights[1], gain), stager).feature_shift for gain in (1, 3, 30)]
    assert shifts[0] < 0.5
    assert shifts[0] + 0.1 < shifts[1] < shifts[2]


def test_a_bad_channel_does_not_move_the_shift(nights, stager, score):
    night = nights[0].load()
    off = Signal(np.full(night.signals["eeg2"].n_samples, -2.4e6, np.float32), 250, "µV", "eeg")
    found = score_night(Night(night.record, dict(night.signals.items()) | {"eeg2": off}, night.n_epochs), stager)
    assert abs(found.feature_shift - score.feature_shift) < 0.1


def test_the_shift_of_nothing_is_undefined(nights, stager):
    prepared = stager.prepare(nights[0])
    assert np.isnan(feature_shift(prepared, {}))


def test_the_real_nap_is_staged_without_hypnogram_or_accelerometer(real_data, stager):
    from dreem_case.nights.casefile import open_night

    score = score_night(open_night(real_data / "raw_eeg" / "nap.h5"), stager)
    assert score.n_epochs == 50
    assert score.usable.all()
