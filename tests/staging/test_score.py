"""Scores: one row per epoch whatever happens, and a named error where nothing can be staged."""

import json

import numpy as np
import pytest

from dreem_case.core.model_file import ModelError
from dreem_case.nights.night import Night, Signal
from dreem_case.nights.stages import Stage
from dreem_case.nights.store import open_store
from dreem_case.staging.clean import Quality
from dreem_case.staging.forest import ForestStager
from dreem_case.staging.score import (
    GAP_EPOCHS,
    NoUsableEEG,
    feature_shift,
    label_shift,
    score_document,
    score_night,
    unscored_spans,
)
from dreem_case.staging.shipped import shipped_model_folder
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
    assert score.stage_names == [Stage(code).name for code in score.stages]


@pytest.mark.parametrize("wrong", [lambda made: made[:, :4], lambda made: made[1:], lambda made: made * np.nan])
def test_a_stager_that_gives_no_five_probabilities_an_epoch_is_refused(nights, stager, monkeypatch, wrong):
    made = stager.predict_proba
    monkeypatch.setattr(stager, "predict_proba", lambda prepared: wrong(made(prepared)))
    with pytest.raises(ModelError, match=f"{nights[0].record}: expected 5 finite probabilities for each of .* epochs"):
        score_night(nights[0], stager)


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


def off_the_head(night, share, value, accelerometer=True):
    """Take the band off after a share of the night; what is left lies on a table."""
    night, random = night.load(), np.random.default_rng(0)
    signals = {}
    for name, signal in night.signals.items():
        values, cut = signal.values.copy(), round(share * signal.n_samples)
        if signal.kind == "eeg":
            values[cut:] = random.normal(0, value, len(values) - cut) if value in (0.2, 1.5) else value
        else:
            values[cut:] = (name[-1] == "z") + random.normal(0, 0.004, len(values) - cut)
        signals[name] = Signal(values, signal.fs_hz, signal.unit, signal.kind)
    return Night("off", signals, night.n_epochs)


OFF = {"zeros": 0, "noise of an amplifier": 0.2, "more noise": 1.5, "railed": 6e5, "no numbers": np.nan}


@pytest.mark.parametrize("value", OFF.values(), ids=OFF)
def test_nobody_sleeps_without_the_band(nights, stager, value):
    night = off_the_head(nights[0], 0.5, value)
    score, n = score_night(night, stager), night.n_epochs
    assert score.usable[: n // 2 - 1].all()
    assert not score.usable[n // 2 + 1 :].any()
    assert not score.bridged.any()
    assert (score.stages[~score.usable] == Stage.WAKE).all()
    assert not score.review[~score.usable].any()
    kept = score.statistics
    assert kept.unscored_min == np.sum(~score.usable) / 2
    assert kept.recorded_min == n / 2 - kept.unscored_min
    assert kept.sleep_min == np.sum(score.stages[score.usable] != Stage.WAKE) / 2
    assert any("without usable EEG: WAKE stands in" in note for note in score.notes)
    document = score_document(score, "x")
    assert document["usable"] == score.usable.tolist()
    assert document["statistics"]["unscored_min"] == kept.unscored_min
    assert len(document["stages"]) == n


def test_a_gap_of_minutes_is_decided_by_its_neighbours(nights, stager):
    night = nights[0].load()
    n = GAP_EPOCHS - 1
    signals = {}
    for name, signal in night.signals.items():
        values = signal.values.copy()
        if signal.kind == "eeg":
            values[20 * 7500 : (20 + n) * 7500] = np.nan
        signals[name] = Signal(values, signal.fs_hz, signal.unit, signal.kind)
    score = score_night(Night("gap", signals, night.n_epochs), stager)
    assert score.usable.all()
    assert np.flatnonzero(score.bridged).tolist() == list(range(20, 20 + n))
    assert score.statistics.unscored_min == 0
    assert any("staged by their neighbours" in note for note in score.notes)


def test_a_moment_of_signal_amid_long_gaps_is_no_sleep():
    seen = np.zeros(100, bool)
    seen[:20] = seen[50:52] = True
    assert unscored_spans(seen)[20:].all()
    seen[50:60] = True
    assert not unscored_spans(seen)[50:60].any()
    assert not unscored_spans(np.ones(5, bool)).any()
    assert unscored_spans(np.zeros(7, bool)).all()


@pytest.mark.parametrize(("n_epochs", "n_good"), [(80, 19), (80, 1), (200, 9), (856, 1)])
def test_a_night_of_next_to_no_signal_is_refused_with_what_was_found(stager, n_epochs, n_good):
    values = np.zeros(n_epochs * 7500, np.float32)
    values[: n_good * 7500] = np.cumsum(np.random.default_rng(0).normal(0, 2, n_good * 7500)) * 0.3
    night = Night("empty", {"eeg1": Signal(values, 250, "µV", "eeg")}, n_epochs)
    with pytest.raises(NoUsableEEG, match=r"empty: expected at least .* found .*eeg1 flat in \d+ % of the epochs.*µV"):
        score_night(night, stager)


def test_a_short_recording_is_answered_with_a_note(nights, stager):
    score = score_night(nights[0].crop(20, 26), stager)
    assert score.n_epochs == 6
    assert any("only 3 min of usable EEG" in note for note in score.notes)
    assert not any("only" in note for note in score_night(nights[0], stager).notes)


UNITS = {"volts": 1e-6, "millivolts": 1e-3, "nanovolts": 1e3}


@pytest.mark.parametrize("unit", UNITS)
def test_a_night_in_another_unit_is_refused_and_the_unit_named(nights, stager, unit):
    with pytest.raises(NoUsableEEG, match=f"looks like .*{unit}.*usual amplitude"):
        score_night(scaled(nights[0], UNITS[unit]), stager)


@pytest.mark.parametrize(("gain", "words"), [(0.05, "a very low gain"), (20, "a very high gain")])
def test_an_odd_gain_is_named(nights, stager, gain, words):
    assert any(words in note for note in score_night(scaled(nights[0], gain), stager).notes)


def test_a_raw_count_of_unknown_size_is_scaled(nights):
    night, stager = nights[0].load(), load_stager(shipped_model_folder())
    score = score_night(night, stager)
    signals = {
        name: Signal(s.values * 12 + 3e6, s.fs_hz, "counts", "eeg") if s.kind == "eeg" else s
        for name, s in night.signals.items()
    }
    found = score_night(Night("counts", signals, night.n_epochs), stager)
    assert np.mean(found.stages == score.stages) > 0.9
    assert any("in counts: scaled to a usual amplitude" in note for note in found.notes)


NO_EEG = {
    "white noise": lambda random, n: random.normal(0, 20, n),
    "a sine": lambda random, n: 30 * np.sin(np.arange(n) / 20),
    "pink noise": lambda random, n: np.fft.irfft(
        np.fft.rfft(random.normal(0, 20, n)) / np.sqrt(1 + np.arange(n // 2 + 1) / n * 250), n
    ) * 3,
    "brown noise": lambda random, n: np.fft.irfft(
        np.fft.rfft(random.normal(0, 20, n)) / (0.5 + np.arange(n // 2 + 1) / n * 250), n
    ) * 9,
}


@pytest.mark.parametrize("what", NO_EEG)
def test_what_is_no_eeg_is_noted(stager, what):
    n = 120 * 7500
    values = NO_EEG[what](np.random.default_rng(0), n).astype(np.float32)
    score = score_night(Night("noise", {"eeg1": Signal(values, 250, "µV", "eeg")}, 120), stager)
    assert any("does not look like an EEG" in note for note in score.notes)


def test_an_eeg_looks_like_one(nights, stager):
    for night in nights:
        for name in night.eeg_names:
            assert not any("does not look" in note for note in score_night(night.select([name]), stager).notes)


@pytest.mark.parametrize("late", [-4, -2, 2, 4])
def test_labels_beside_their_epochs_are_noted(nights, stager, late):
    night = nights[1]  # one that it was trained on
    labels = np.full(night.n_epochs, -1, np.int8)
    kept = night.hypnogram[max(-late, 0) : night.n_epochs - max(late, 0)]
    labels[max(late, 0) : night.n_epochs + min(late, 0)] = kept
    notes = score_night(Night("x", night.signals, night.n_epochs, labels), stager).notes
    (note,) = [note for note in notes if "the labels look" in note]
    assert f"{abs(late)} epochs {'late' if late > 0 else 'early'}" in note
    assert not any("the labels look" in note for note in score_night(night, stager).notes)


def test_labels_further_away_than_is_looked_may_be_more():
    stages = np.arange(5).repeat(100)
    labels = np.concatenate([np.full(60, -1), stages[:-60]])
    assert str(label_shift(labels, stages)) == "the labels look 40 epochs late, or more"
    assert str(label_shift(labels, np.roll(labels, -40))) == "the labels look 40 epochs late, or more"
    assert str(label_shift(labels, np.roll(labels, -39))) == "the labels look 39 epochs late"


def test_one_bad_sample_changes_next_to_nothing(nights, stager, score):
    night = nights[0].load()
    for name in "eeg3", "accelerometer_y":
        signal = night.signals[name]
        values = signal.values.copy()
        values[1000] = np.nan
        changed = dict(night.signals.items()) | {name: Signal(values, signal.fs_hz, signal.unit, signal.kind)}
        found = score_night(Night(night.record, changed, night.n_epochs), stager)
        assert np.mean(found.stages == score.stages) > 0.98
        assert np.isfinite(found.probabilities).all()


@pytest.mark.parametrize("factor", [1000, 9.80665, 16384])
def test_an_accelerometer_in_another_unit_changes_nothing_and_is_noted(nights, stager, score, factor):
    night = nights[0].load()
    signals = {
        name: Signal(s.values * np.float32(factor), s.fs_hz, s.unit, s.kind) if s.kind == "accelerometer" else s
        for name, s in night.signals.items()
    }
    found = score_night(Night(night.record, signals, night.n_epochs), stager)
    assert np.mean(found.stages == score.stages) > 0.97
    assert any("scaled so that gravity is 1 g" in note for note in found.notes)


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
