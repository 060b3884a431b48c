"""Beats are found, named, refused and asked for; a shift costs what it must and no more."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from hashlib import sha256

import numpy as np
import pytest
from click.testing import CliRunner
from flask import Flask
from scipy.signal import lfilter

from dreem_case.core.outputs import FolderOutputs, open_outputs
from dreem_case.core.windows import runs_of
from dreem_case.core.workers import ThreadWorkers
from dreem_case.ecg import endpoint, findings, score, study
from dreem_case.ecg.ask import ask_beats, with_labels
from dreem_case.ecg.classifier import BeatClassifier, calibrated, fit_both, held_out, load_classifier, save_classifier
from dreem_case.ecg.cli import ecg
from dreem_case.ecg.detect import detect_beats, detected, match_beats, outside, pacing_spikes
from dreem_case.ecg.features import beat_features
from dreem_case.ecg.filtering import (
    FS_HZ,
    NOISE,
    QUALITIES,
    Signals,
    filtered,
    noise_level,
    second_quality,
    without_spikes,
)
from dreem_case.ecg.findings import _loss, both_ways, data_of, flags, gained, of_found_beats, of_shifts, of_signals
from dreem_case.ecg.imputation import WAYS, distance, filled
from dreem_case.ecg.judge import against_annotations, compare, differences, gross, shadow, summed_up
from dreem_case.ecg.monitor import (
    load_reference,
    make_reference,
    reference_path,
    save_reference,
    stands_out,
    told,
    watched,
)  # fmt: skip
from dreem_case.ecg.places import TABLE, answers_as_annotations, list_records, read_table, score_many, table_row
from dreem_case.ecg.recording import CLASSES, EcgError, Recording, make_recording
from dreem_case.ecg.rhythm import log_intervals, rhythm_features
from dreem_case.ecg.score import MODEL_FILE, WHY, answer_json, score_recording, shipped_model
from dreem_case.ecg.shifts import amplified, at_rate, inverted, swapped, with_gaps, with_noise
from dreem_case.ecg.simulate import RHYTHMS, simulate_record, write_records
from dreem_case.ecg.study import (
    alone,
    alone_together,
    answers_of,
    best_of_groups,
    halves_of,
    honesty,
    judged,
    limits_of,
    look_at,
    most_varied,
    open_case,
    open_cases,
    split_of,
    typical_beats,
    usual_values,
    with_made,
    without_signal,
)
from dreem_case.ecg.wfdb_files import _wfdb, read_beats, read_wfdb, write_wfdb
from tests.support.described import check_answer, check_description
from tests.support.stores import client as client_of


@pytest.fixture(scope="module")
def made():
    """A simulated patient with ventricular beats, and the annotations."""
    return simulate_record("sim01", "ventricular beats", minutes=3, seed=5)


def served():
    """Ask the endpoints."""
    app = Flask("beats")
    app.register_blueprint(endpoint.make_blueprint())
    return app.test_client()


@pytest.fixture(scope="module")
def client():
    """The endpoints, over simulated records."""
    return served()


def test_intervals_between_beats_alike_are_told_finer_than_samples():
    time_s = np.cumsum(np.random.default_rng(0).uniform(0.7, 0.9, 60))
    t = np.arange(55 * FS_HZ) / FS_HZ
    x = sum(np.exp(-0.5 * ((t - at) / 0.02) ** 2) for at in time_s)
    found = detect_beats(Signals(("II",), x[None].astype(np.float32), np.zeros((1, len(t)), bool)))
    pairs = match_beats(time_s, found)
    np.testing.assert_allclose(np.diff(found[pairs[:, 1]]), np.diff(time_s[pairs[:, 0]]), atol=0.003)


@pytest.mark.parametrize(
    "change",
    [inverted, swapped, lambda r: amplified(r, 0.1), lambda r: amplified(r, 10)],
    ids=["inverted", "swapped", "gain 0.1", "gain 10"],
)
def test_sign_place_and_gain_of_a_lead_mean_nothing(made, change):
    recording, beats = made
    before = score_recording(recording, time_s=beats.time_s).classes
    after = score_recording(change(recording), time_s=beats.time_s).classes
    assert (before == after).mean() > 0.99


@pytest.mark.parametrize("fs_hz", [125, 250, 1000])
def test_the_rate_means_nothing(made, fs_hz):
    recording, beats = made
    before = score_recording(recording, time_s=beats.time_s).classes
    after = score_recording(at_rate(recording, fs_hz), time_s=beats.time_s).classes
    assert (before == after).mean() > 0.98


def test_a_beat_in_a_gap_gets_no_class(made):
    recording, beats = made
    gaps = with_gaps(recording, beats, 0.2, seed=1)
    answers = score_recording(gaps, time_s=beats.time_s)
    at = np.round(beats.time_s * recording.fs_hz).astype(int)
    gone = np.isnan(gaps.leads["MLII"][at])
    assert gone.any()
    assert (answers.classes[gone] == -1).all()


def test_gaps_make_no_ventricular_beats():
    recording, beats = simulate_record("sim02", "sinus", minutes=3, seed=6)
    before = (score_recording(recording, time_s=beats.time_s).classes == 2).sum()
    after = (score_recording(with_gaps(recording, beats, 0.1), time_s=beats.time_s).classes == 2).sum()
    assert after <= before + 2


def test_noise_as_high_as_beats_is_refused_in_part(made):
    recording, beats = made
    noisy = with_noise(recording, beats, "electrode_motion", -6)
    assert (score_recording(noisy, time_s=beats.time_s).classes == -1).mean() > 0.1


def test_a_detection_in_noise_that_is_no_beat_is_not_called_ventricular_and_says_why():
    recording, beats = simulate_record("sim02", "sinus", minutes=3, seed=6)
    noisy, last = with_noise(recording, beats, "electrode_motion", -6).leads, np.arange(recording.n_samples) > 120 * 360
    leads = {name: np.where(last, noisy[name], lead) for name, lead in recording.leads.items()}
    answers = score_recording(replace(recording, leads=leads))
    extra = np.setdiff1d(np.arange(len(answers.time_s)), match_beats(beats.time_s, answers.time_s)[:, 1])
    assert len(extra) > 50 and (answers.classes[extra] == 2).sum() <= 1
    assert ((answers.why > 0) == (answers.classes < 0)).all()
    said = answer_json(answers)
    hardly = sum(beat["why"] == "hardly above noise" for beat in said["beats"])
    assert hardly > 40 and any(note.endswith(f"{hardly} hardly above noise") for note in said["notes"])
    assert WHY.index("hardly above noise") not in score_recording(recording, time_s=beats.time_s + 0.3).why  # marked


@pytest.mark.parametrize(("width_s", "per_minute"), [(0.012, 240), (0.025, 240), (0.04, 180), (0.05, 150)])
def test_fast_and_wide_beats_stand_out(width_s, per_minute):
    t, time_s = np.arange(60 * 360) / 360, np.arange(0.5, 59.5, 60 / per_minute)
    x = sum(np.exp(-(((t - at) / width_s) ** 2)) for at in time_s) + np.random.default_rng(0).normal(0, 0.01, len(t))
    found, clear = detected(filtered(make_recording("fast", 360, {"II": x})))
    assert len(found) > 0.95 * len(time_s) and clear.mean() > 0.95


def test_what_may_be_no_beat_is_no_neighbour_of_others(made):
    recording, beats = made
    signals = filtered(recording)
    first, second = beats.time_s[99:101]
    time_s = np.insert(beats.time_s, 100, (first + second) / 2)
    doubtful = np.arange(len(time_s)) == 100
    without, table = beat_features(signals, beats.time_s), beat_features(signals, time_s, doubtful=doubtful)
    names = without.names
    assert np.flatnonzero(table.unscored).tolist() == [100]
    unknown = table.rows[101, names.index("pre_local")], table.rows[99, names.index("post_local")]
    assert np.abs(unknown).max() < 0.1
    shape = [i for i, name in enumerate(names) if name.startswith(("c_qrs", "d_qrs", "width", "ptp"))]
    np.testing.assert_allclose(table.rows[~doubtful][:, shape], without.rows[:, shape], atol=0.05)


def test_seconds_of_noise_are_told_by_lead_and_second_wherever_a_piece_ends(made, monkeypatch):
    recording = made[0]
    lead = next(iter(recording.leads))
    at_s = np.arange(recording.n_samples) / recording.fs_hz
    noise = 0.5 * np.ptp(recording.leads[lead]) * np.sin(2 * np.pi * 7.3 * at_s)
    part = recording.leads[lead] + np.where((at_s >= 50) & (at_s < 130), noise, 0).astype(np.float32)
    found = []
    for piece_s in (1800.0, 60.0):
        monkeypatch.setattr(score, "PIECE_S", piece_s)
        answers = score_recording(replace(recording, leads=recording.leads | {lead: part}))
        second = np.flatnonzero(answers.quality[lead] == NOISE)
        assert np.isin(np.arange(52, 128), second).mean() > 0.85 and np.isin(second, np.arange(48, 132)).mean() > 0.95
        found.append(answers)
    said = answer_json(found[0])
    assert {sum(kinds.values()) for kinds in said["quality"].values()} == {180}
    assert said["quality"][lead]["noise"] == (found[0].quality[lead] == NOISE).sum()
    assert f"lead {lead}: of its seconds {said['quality'][lead]['noise'] / 1.8:.0f} % noise" in said["notes"]
    assert 0.2 < table_row(recording, found[0])["not_good"] < 0.3  # of two leads


def test_a_clipped_lead_is_named_and_holds_no_pacemaker():
    recording, beats = simulate_record("r", "paced", minutes=2, seed=3)
    leads = {name: np.clip(x, *np.quantile(x, [0.15, 0.85])) for name, x in recording.leads.items()}
    assert score_recording(recording, time_s=beats.time_s).paced.any()
    answers = score_recording(make_recording("r", recording.fs_hz, leads), time_s=beats.time_s)
    assert not answers.paced.any()
    for name in leads:
        assert any(note.startswith(f"lead {name}: of its seconds") and "% clipped" in note for note in answers.notes)


def test_each_whole_second_of_a_lead_is_named_by_what_fills_it():
    lead = np.random.default_rng(0).uniform(-0.9, 0.9, 650).astype(np.float32)
    lead[:6], lead[6:11] = 1, -1  # more than a tenth at both ends together
    lead[100:120], lead[200:221] = np.nan, np.nan  # a fifth is no gap yet
    lead[300:400] = 0.1
    lead[400:410] = 1
    quality = second_quality(Recording("made", 100, {"II": lead}))["II"]
    assert [QUALITIES[q] for q in quality] == ["clipped", "good", "gap", "flat", "good", "good"]


def test_noise_between_beats_is_told_in_their_heights():
    x, missing = np.zeros((1, 20 * FS_HZ), np.float32), np.zeros((1, 20 * FS_HZ), bool)
    at = np.arange(1, 20) * FS_HZ
    away = np.abs(np.arange(x.shape[1])[:, None] - at - 2).min(axis=1)
    x[0] = np.where(away > 10, 0.1, 0) * (-1) ** np.arange(x.shape[1])  # from 8 before to 12 behind it is a beat's own
    x[0, at], x[0, at + 12], x[0, at - 8], missing[0, 1000:1100] = 2, 1, 1, True
    level = noise_level(Signals(("II",), x, missing), at / FS_HZ)[0]
    assert np.isnan(level[1000:1100]).all()
    np.testing.assert_allclose(np.append(level[300:930], level[1200:2200]), 0.1 / 2, rtol=1e-5)


@pytest.mark.parametrize("gain", [0.2, 10])
def test_the_same_beats_are_found_at_any_gain(made, gain):
    at_gain = detect_beats(filtered(amplified(made[0], gain)))
    np.testing.assert_allclose(at_gain, detect_beats(filtered(made[0])), atol=1e-5, rtol=0)


def test_silence_has_no_beats():
    assert len(detect_beats(Signals(("II",), np.zeros((1, 4000), np.float32), np.zeros((1, 4000), bool)))) == 0


def test_each_beat_is_paired_once_and_with_the_nearest():
    found = np.array([0.9, 1.05, 2.14, 3.16, 4.2, 5.0])
    assert match_beats(np.array([1.0, 2.0, 3.0, 5.0]), found).tolist() == [[0, 1], [1, 2], [3, 5]]
    assert match_beats(np.zeros(0), found).shape == (0, 2)


def test_beats_in_a_span_or_at_its_edge_are_not_outside():
    time_s, spans_s = np.array([1.0, 1.9, 2.0, 2.12, 2.2, 2.4]), [(2.1, 2.15), (9.0, 9.5)]
    assert outside(time_s, spans_s).tolist() == [True, True, False, False, False, True]
    assert outside(time_s, []).all()


def test_a_beat_whose_surroundings_are_cut_off_follows_no_spike():
    time_s = np.append(np.arange(0.2, 10, 0.7), 9.99)
    t, x = np.arange(2500) / 250, np.zeros(2500)
    for beat in time_s:
        x += np.exp(-(((t - beat) / 0.02) ** 2))
        x[round((beat - 0.08) * 250)] += 2
    known = (time_s > 0.32) & (time_s < 9.98)
    assert pacing_spikes(Recording("made", 250, {"II": x.astype(np.float32)}), time_s)[0].tolist() == known.tolist()


RISING = {  # of a beat in the middle where each interval is a step longer than the one before, in such steps
    "pre_local": 0, "pre_m20": 0, "pre_m60": 0, "pre_glob": 0.5, "pre_q75": -10, "pre_q90": -17, "pre_q95w": -53,
    "pre_q10": 16, "pre_before": 4, "pre_after": -4.5, "post_local": 1, "post_m60": 1, "post_q75": -9, "post_q90": -16,
    "post_glob": 1.5, "post_pre": 1, "two": 0.5, "two_q75": -9.5, "prev": -1, "prev2": -2, "next2": 2, "prev_q90": -18,
    "next2_q90": -15, "pre_prev": 1, "irr": 1, "irr_q": 1, "spread": 20, "long_tail": 17, "long_tail_w": 53,
    "short_tail": 16, "prem": 0, "prem_q90": 0, "late": 0, "prem_reg": 0, "pause": 1, "pre": 99, "post": 100,
}  # fmt: skip


def test_a_beat_is_held_against_the_intervals_around_it():
    step = 0.001
    found = rhythm_features(np.cumsum(np.append(0, np.exp(step * np.arange(199)))))
    assert {name: round(values[100] / step, 3) for name, values in found.items()} == RISING


def test_an_early_beat_with_a_full_pause_is_early_and_late_by_itself_alone():
    time_s = np.arange(40.0)
    time_s[20] -= 0.5
    found = rhythm_features(time_s)
    early, late = np.log(0.5), np.log(1.5)
    expected = {"prem": early, "prem_reg": early, "prem_q90": early + 0.1, "pause": late, "two": 0, "late": 0, "irr": 0}
    for name, value in expected.items():
        assert found[name][20] == pytest.approx(value, abs=1e-12)
    assert found["late"][21] == pytest.approx(late) and found["prem"][21] == 0


def test_an_interval_across_a_gap_is_as_those_around_and_none_is_beyond_all_measure():
    pre, post = log_intervals(np.array([0, 1, 2, 9, 10, 10.1, 20]), np.array([False, False, True, False, False, False]))
    np.testing.assert_allclose(np.exp(pre), [1, 1, 1, 1, 1, 0.15, 3])
    np.testing.assert_array_equal(post, np.append(pre[1:], pre[-1]))
    assert [len(part) for part in log_intervals(np.array([7.0]))] == [1, 1]


def test_short_gaps_in_a_lead_far_from_zero_are_no_spikes():
    recording, beats = simulate_record("r", "sinus", minutes=1, fs_hz=250, seed=1)
    lost = np.repeat(np.random.default_rng(0).random(3000) < 0.1, 5)[: recording.n_samples]  # a tenth, 20 ms each
    leads = {name: np.where(lost, np.nan, lead + 1).astype(np.float32) for name, lead in recording.leads.items()}
    assert not pacing_spikes(Recording("r", 250, leads), beats.time_s).any()
    nothing = Recording("r", 250, {**recording.leads, "off": np.full(recording.n_samples, np.nan, np.float32)})
    assert not pacing_spikes(nothing, beats.time_s).any()


def test_labels_hold_for_groups_of_beats_that_can_be_read_and_q_for_its_beat_alone(made):
    answers = score_recording(made[0], time_s=made[1].time_s)
    hidden = np.arange(len(answers.time_s)) < 3
    answers = replace(answers, classes=np.where(hidden, -1, 0).astype(np.int8), review=np.full(len(hidden), True))
    asked = ask_beats(answers, shipped_model(), 2)
    named = with_labels(answers, shipped_model(), 2, dict.fromkeys(asked, "V"))
    assert named.classes.tolist() == np.where(hidden, -1, 2).tolist() and named.review.tolist() == hidden.tolist()
    named = with_labels(answers, shipped_model(), 2, {answers.time_s[5]: "Q", answers.time_s[1] + 0.1: "S"})
    changed = np.flatnonzero(named.classes != answers.classes).tolist()
    assert changed == [1, 5] and named.classes[changed].tolist() == [1, -1]
    with pytest.raises(EcgError, match="a class of N/S/V/F/Q for a beat, found 'N' at"):
        with_labels(answers, shipped_model(), 2, {answers.time_s[0] - 0.2: "N"})
    with pytest.raises(EcgError, match=r"one class for a beat, found V and S near \d+"):
        with_labels(answers, shipped_model(), 2, {answers.time_s[5]: "V", answers.time_s[5] + 0.01: "S"})
    with pytest.raises(EcgError, match="expected 2 beats that can be read, found 1"):
        ask_beats(replace(answers, classes=np.where(np.arange(len(hidden)) == 5, 0, -1)), shipped_model(), 2)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # which other machines' rounding may leave
def test_beats_that_rounding_alone_tells_apart_are_asked_for_once():
    t = np.arange(200) / 250 - 0.3
    beat = 1.2 * np.exp(-((t / 0.012) ** 2)) + 0.3 * np.exp(-(((t - 0.25) / 0.05) ** 2))
    answers = score_recording(make_recording("test signal", 250, {"II": np.tile(beat, 80)}))
    asked = ask_beats(answers, shipped_model(), 60)
    assert 2 <= len(set(asked)) == len(asked) < 60
    named = with_labels(answers, shipped_model(), 60, dict.fromkeys(asked, "V"))
    assert (named.classes[answers.classes >= 0] == 2).all()  # each beat is in the group of one that was asked for


def test_a_model_file_survives_a_round_trip_and_every_damage_is_named(tmp_path):
    path = tmp_path / "model.json"
    save_classifier(shipped_model(), path)
    assert load_classifier(path).version == shipped_model().version
    content = json.loads(path.read_text())
    for key, value in {"left": [[0]], "column": [[10**6]], "value": [[1e300]], "threshold": "x"}.items():
        broken = json.loads(json.dumps(content))
        broken["model"]["trees"][key] = value
        path.write_text(json.dumps(broken))
        with pytest.raises(EcgError, match="a model of this project"):
            load_classifier(path)


def test_the_shipped_model_is_small_and_says_what_it_is():
    assert MODEL_FILE.stat().st_size < 1_000_000
    assert {"what", "data", "records", "date", "beats"} <= set(shipped_model().card)


@pytest.mark.parametrize("seconds", [2, 5, 9, 29])
def test_a_short_strip_is_answered_and_called_short(made, seconds):
    recording, _ = made
    strip = make_recording("strip", 360, {name: lead[: seconds * 360] for name, lead in recording.leads.items()})
    assert any("too short" in note for note in score_recording(strip).notes)


@pytest.mark.parametrize(("seed", "seconds"), [(3, 10), (3, 20), (6, 15)])
def test_the_few_beats_of_a_strip_are_normal_where_those_of_the_record_are(seed, seconds):
    lead = simulate_record("strip", "sinus", minutes=0.5, fs_hz=250, seed=seed)[0].leads["MLII"]
    answers = score_recording(make_recording("strip", 250, {"I": lead[: 250 * seconds]}))
    assert np.mean(answers.classes == 0) > 0.8


def test_a_recording_that_is_off_for_most_of_the_time_is_answered_where_it_is_on(made):
    lead = made[0].leads["MLII"].copy()
    alone = score_recording(make_recording("on", 360, {"ECG": lead[: len(lead) // 5]}))
    lead[len(lead) // 5 :] = np.nan
    answers = score_recording(make_recording("off", 360, {"ECG": lead}))
    assert len(match_beats(alone.time_s, answers.time_s)) > 0.95 * len(alone.time_s) > 30
    assert np.mean(answers.classes >= 0) > 0.9


def test_an_answer_is_plain_json(made):
    answer = answer_json(score_recording(made[0]))
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert answer["model"] == shipped_model().version


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"fs_hz": 360},
        {"fs_hz": "x", "leads": {}},
        {"fs_hz": 360, "leads": {}},
        {"fs_hz": 360, "leads": {"a": ["x"]}},
        {"fs_hz": 1e9, "leads": {"a": [0, 1] * 500}},
        {"fs_hz": 360, "leads": {"a": [0.0] * 4000}},
        {"fs_hz": 360, "leads": {"a": [0, 1] * 500, "b": [1, 0] * 300}},
        {"fs_hz": 360, "leads": {"a": [[1]] * 400}},
        {"fs_hz": True, "leads": {"a": [0, 1] * 500}},
        {"fs_hz": 360, "leads": {"a": [10**400] * 500}},
        {"fs_hz": 10**400, "leads": {"a": [0, 1, 2] * 500}},
    ],
)
def test_a_body_that_is_no_recording_is_refused_by_name(client, body):
    answer = client.post("/beats", json=body)
    assert answer.status_code == 422
    assert {"expected", "found"} <= set(answer.json)


@pytest.mark.parametrize("text", ["x", '["V"]', '{"abc": "V"}', "[" * 100_000])
def test_labels_of_another_form_are_shown(tmp_path, text):
    write_records(tmp_path, n_records=1, minutes=0.5)
    (tmp_path / "labels.json").write_text(text)
    words = ["ask", "--store", str(tmp_path), "--labels", str(tmp_path / "labels.json"), "sim01"]
    answer = CliRunner().invoke(ecg, words)
    assert answer.exit_code == 1 and f"found {text[:60]!a}" in answer.output


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16"])
def test_labels_are_read_as_windows_writes_them(tmp_path, coding):
    write_records(tmp_path, n_records=1, minutes=0.5)
    words = ["ask", "--store", str(tmp_path), "sim01"]
    (tmp_path / "labels.json").write_text(CliRunner().invoke(ecg, words).output.replace("null", '"V"'), encoding=coding)
    answer = CliRunner().invoke(ecg, [*words, "--labels", str(tmp_path / "labels.json")])
    assert answer.exit_code == 0 and "labelled by a person" in answer.output


def test_a_rate_that_is_no_number_is_shown(client):
    answer = client.post("/beats", json={"fs_hz": "360", "leads": {"I": [0, 1]}})
    assert "found '360' and {'I': [0, 1]}" in answer.json["detail"]


def test_endpoints_answer_as_their_openapi_document_says(client):
    paths = check_description(client.application, {"/strips", "/strips/", "/strips/{_}", "/strip-files/{name}"})
    for path, methods in paths.items():
        for record in ("sim01", "none"):
            check_answer(methods["get"], client.get(path.format(record=record))) if "get" in methods else None
    check_answer(paths["/beats/{record}/labels"]["post"], client.post("/beats/sim01/labels", json={"labels": {}}))
    check_answer(paths["/beats/{record}/strip"]["get"], client.get("/beats/sim01/strip?from=soon"))
    check_answer(paths["/beats"]["post"], client.post("/beats", json=[]))


@pytest.mark.parametrize("path", ["/beats", "/beats/sim01/labels"])
def test_a_body_that_is_too_long_is_413(client, monkeypatch, path):
    monkeypatch.setattr(endpoint, "MAX_BODY_BYTES", 10)
    answer = client.post(path, json={"leads": {}, "labels": {}})
    assert (answer.status_code, answer.json["expected"]) == (413, "at most 10 bytes")


def test_a_body_that_is_not_called_json_is_told_so(client):
    answer = client.post("/beats", data='{"fs_hz": 360, "leads": {}}', content_type="text/plain")
    assert (answer.status_code, answer.json["found"]) == (422, "content of type 'text/plain'")


def test_a_number_of_thousands_of_digits_is_refused(client):
    number = "1" * 5000
    body = f'{{"fs_hz": {number}, "leads": {{"a": [0, 1]}}}}'
    assert client.post("/beats", data=body, content_type="application/json").status_code == 422
    assert client.get(f"/beats/{client.get('/beats').json['records'][0]}/ask?n={number}").status_code == 422


def test_a_lead_in_volts_is_answered_as_in_millivolts_and_said(client, made):
    lead = made[0].leads["MLII"][:7200]
    answers = [client.post("/beats", json={"fs_hz": 360, "leads": {"MLII": (lead * k).tolist()}}) for k in (1, 0.001)]
    times = [[beat["time_s"] for beat in answer.json["beats"]] for answer in answers]
    assert times[0] == times[1] != []
    assert "taken for volts" in answers[1].json["notes"][0]


def test_a_lead_that_ends_early_is_a_gap_from_there_on(client, made):
    leads = {name: lead[:7200].astype(float).tolist() for name, lead in made[0].leads.items()}
    early, filled = (leads | {"V1": leads["V1"][:5400] + [None] * n} for n in (0, 1800))
    said, as_gap = (client.post("/beats", json={"fs_hz": 360, "leads": some}).json for some in (early, filled))
    assert said["beats"] == as_gap["beats"] != []
    assert "lead V1: 5400 samples where another has 7200; a gap behind them" in said["notes"]


def test_a_blood_pressure_beside_a_lead_changes_nothing(client, made):
    lead = made[0].leads["MLII"][:7200].tolist()
    pressure = (80 + 25 * np.sin(np.arange(7200) / 40)).tolist()
    alone, both = (
        client.post("/beats", json={"fs_hz": 360, "leads": {"MLII": lead} | more}).json
        for more in ({}, {"ABP": pressure})
    )
    assert both["beats"] == alone["beats"]
    assert set(both["notes"]) - set(alone["notes"]) == {"lead ABP: by its name no ECG; not used"}


def test_the_endpoint_names_beats_and_takes_labels(client):
    record = client.get("/beats").json["records"][2]
    answer = client.get(f"/beats/{record}").json
    asked = client.get(f"/beats/{record}/ask?n=5").json["time_s"]
    labelled = client.post(f"/beats/{record}/labels", json={"n": 5, "labels": {str(asked[0]): "V"}}).json
    assert labelled["counts"]["V"] > answer["counts"]["V"]


def test_labels_without_their_number_answer_as_many_questions(client):
    record = client.get("/beats").json["records"][2]
    for n in (4, 14):
        asked = client.get(f"/beats/{record}/ask?n={max(n, 10)}").json["time_s"]
        labels = dict.fromkeys(map(str, asked), None) | {str(asked[0]): "V"}
        of_n, alone = (
            client.post(f"/beats/{record}/labels", json=body).json
            for body in ({"n": max(n, 10), "labels": {str(asked[0]): "V"}}, {"labels": dict(list(labels.items())[:n])})
        )
        assert alone == of_n


def test_confidence_is_of_the_class_that_a_label_gives(client):
    record = client.get("/beats").json["records"][2]
    asked = client.get(f"/beats/{record}/ask").json["time_s"]
    said = {str(t): "NSVF"[i % 4] for i, t in enumerate(asked)}
    named = client.post(f"/beats/{record}/labels", json={"labels": said}).json
    for beat in named["beats"]:
        if beat["class"]:
            of_class = beat["probabilities"]["NSVF".index(beat["class"])]
            assert beat["confidence"] == of_class == max(beat["probabilities"]) >= 0.8


def test_a_label_of_a_beat_that_was_not_asked_for_is_told(client):
    record = client.get("/beats").json["records"][2]
    asked = {n: client.get(f"/beats/{record}/ask?n={n}").json["time_s"] for n in (2, 14)}
    labels = dict.fromkeys(map(str, asked[14]), "N")
    named = client.post(f"/beats/{record}/labels", json={"n": 2, "labels": labels}).json
    n_alone = len(set(asked[14]) - set(asked[2]))
    assert f"{n_alone} of these are not among the 2 beats asked for" in named["notes"][-1]


@pytest.mark.parametrize("n", ["1", "x", "-3", "9999"])
def test_a_number_of_labels_that_cannot_be_is_refused(client, n):
    record = client.get("/beats").json["records"][0]
    assert client.get(f"/beats/{record}/ask?n={n}").status_code == 422


def test_the_commands_score_a_folder_and_name_what_fails(tmp_path):
    write_records(tmp_path / "in", n_records=2, minutes=1)
    (tmp_path / "in" / "bad.hea").write_text("bad 1 360 100\n/etc/passwd 16 200 11 0 0 0 0 a\n")
    run = CliRunner().invoke(ecg, ["score", "--store", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert run.exit_code == 1
    assert "beside the header" in run.output
    assert {path.stem for path in (tmp_path / "out").glob("*.json")} == {"sim01", "sim02"}


def test_a_run_goes_on_where_it_was_stopped_and_does_again_what_has_changed(tmp_path):
    store, out = str(tmp_path / "in"), str(tmp_path / "out")

    def run(*records):
        with ThreadWorkers(1) as workers:
            return {record: is_new for record, _, is_new in score_many(store, out, records, workers)}

    write_records(store, n_records=3, minutes=0.5)
    (tmp_path / "in" / "torn.hea").write_text("torn 1 360 100\n")
    assert run("sim01", "torn") == {"sim01": True, "torn": True}
    everyone = ("sim01", "sim02", "sim03", "torn")
    assert run(*everyone) == {"sim01": False, "sim02": True, "sim03": True, "torn": False}
    write_records(store, n_records=1, minutes=1)  # another sim01
    (tmp_path / "out" / "sim02.beats").unlink()
    assert run(*everyone) == {"sim01": True, "sim02": True, "sim03": False, "torn": False}
    rows = read_table(FolderOutputs(out))
    assert tuple(rows) == everyone
    assert rows["torn"]["refused"].startswith("torn: expected") and not rows["sim01"]["refused"]
    answer = json.loads((tmp_path / "out" / "sim01.json").read_text())
    assert int(rows["sim01"]["beats"]) == len(answer["beats"]) and int(rows["sim01"]["N"]) == answer["counts"]["N"]
    result = CliRunner().invoke(ecg, ["score", "--store", store, "--out", out])
    assert (result.exit_code, "torn: expected" in result.output, "4 of 4 records" in result.output) == (1, True, True)


def test_a_run_that_is_stopped_between_two_tables_keeps_the_rows_of_what_was_scored(tmp_path, monkeypatch):
    names = write_records(tmp_path / "in", n_records=3, minutes=0.5)
    monkeypatch.setattr("dreem_case.ecg.places.TABLE_S", 1e9)
    with ThreadWorkers(1) as workers:
        run = score_many(str(tmp_path / "in"), str(tmp_path / "out"), names, workers)
        done = {next(run)[0], next(run)[0]}
        assert not (tmp_path / "out" / TABLE).exists()
        run.close()
    assert set(read_table(FolderOutputs(tmp_path / "out"))) == done


def test_records_in_folders_of_a_folder_are_scored_and_served_and_two_of_one_name_are_refused(tmp_path, monkeypatch):
    store, out = tmp_path / "in", tmp_path / "out"
    for inner, names in (("100/a", "sim01 sim02"), ("100/b", "sim02"), (".old", "sim03"), ("../elsewhere", "sim04")):
        write_records(tmp_path / "made", n_records=4, minutes=0.5)
        (store / inner).mkdir(parents=True)
        for path in (tmp_path / "made").iterdir():
            if path.stem in names.split():
                path.rename(store / inner / path.name)
    (store / "link").symlink_to(tmp_path / "elsewhere")
    asked = ["score", "--store", str(store), "--out", str(out), "--jobs", "1"]
    run = CliRunner().invoke(ecg, asked)
    assert run.exit_code == 1 and "one record of this name in the store, found 2: in 100/a, 100/b" in run.output
    assert {path.name for path in out.iterdir()} == {"sim01.json", "sim01.beats", TABLE}
    (store / "100/b/sim02.hea").unlink()
    run = CliRunner().invoke(ecg, asked)
    assert run.exit_code == 0 and "1 of 2 records were done before" in run.output
    run = CliRunner().invoke(ecg, ["judge", "--store", str(store), "sim02"])
    assert run.exit_code == 0 and "sim02: F1" in run.output

    monkeypatch.setattr(endpoint, "_place", lambda: str(store))
    client = served()
    assert client.get("/beats").json["records"] == ["sim01", "sim02"]
    assert client.get("/beats/sim02").json["beats"] == json.loads((out / "sim02.json").read_text())["beats"]
    for path in ("100%2Fa%2Fsim01", "..%2Felsewhere%2Fsim04", "sim03", "sim04", "*"):
        assert client.get(f"/beats/{path}").status_code in (404, 422)


def test_a_table_that_somebody_changed_is_made_anew(tmp_path):
    write_records(tmp_path / "in", n_records=1, minutes=0.5)
    (tmp_path / TABLE).write_bytes(b"record;refused\n\xff\x00sim01;\n")
    with ThreadWorkers(1) as workers:
        (one,) = score_many(str(tmp_path / "in"), str(tmp_path), ["sim01"], workers)
    assert (one[0], one[2], list(read_table(FolderOutputs(tmp_path)))) == ("sim01", True, ["sim01"])


def test_results_among_the_records_are_no_records_and_leave_these_as_they_were(tmp_path):
    names = write_records(tmp_path, n_records=2, minutes=0.5)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with ThreadWorkers(1) as workers:
        for new in (True, False):
            assert {one[2] for one in score_many(str(tmp_path), str(tmp_path), names, workers)} == {new}
    assert list_records(str(tmp_path)) == names
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert before.items() <= after.items() and len(after) == len(before) + 5


def test_a_bucket_takes_the_results_and_is_gone_on_with(tmp_path, server, credentials, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    client_of(server).create_bucket(Bucket="ecg-scored")
    write_records(tmp_path, n_records=1, minutes=0.5)
    with ThreadWorkers(1) as workers:
        for new in (True, False):
            ((_, _, is_new),) = score_many(str(tmp_path), "s3://ecg-scored/at", ["sim01"], workers)
            assert is_new == new
    assert open_outputs("s3://ecg-scored/at").names() == {"sim01.json", "sim01.beats", TABLE}


def test_samples_that_have_another_records_name_are_fetched_and_told_when_they_change(
    tmp_path, server, credentials, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    client_of(server).create_bucket(Bucket="ecg-shared")
    write_records(tmp_path, n_records=2, minutes=0.5)
    header = (tmp_path / "sim01.hea").read_text().replace("sim01 ", "both ")
    samples = {name: (tmp_path / f"{name}.dat").read_bytes() for name in ("sim01", "sim02")}
    for kept, is_expected in (("sim01", True), ("sim01", False), ("sim02", True)):
        for name, content in {"both.hea": header.encode(), "sim01.dat": samples[kept]}.items():
            client_of(server).put_object(Bucket="ecg-shared", Key=name, Body=content)
        with ThreadWorkers(1) as workers:
            ((_, row, is_new),) = score_many("s3://ecg-shared", str(tmp_path / "out"), ["both"], workers)
        assert (is_new, row["refused"], "checksum" in row["notes"]) == (is_expected, "", kept == "sim02")


def test_records_are_fetched_from_folders_of_a_database_and_one_that_is_not_there_is_named(tmp_path, server):
    write_records(tmp_path / "in", n_records=2, minutes=0.5)
    client_of(server).create_bucket(Bucket="ecg-open", ACL="public-read")
    files = {f"{home}/{path.name}": path.read_bytes() for path in (tmp_path / "in").iterdir() for home in ("a/b", "c")}
    sums = "".join(f"{sha256(content).hexdigest()} {name}\n" for name, content in files.items()).encode()
    for name, content in {**files, "SHA256SUMS.txt": sums}.items():
        client_of(server).put_object(Bucket="ecg-open", Key=f"1.0/{name}", Body=content, ACL="public-read")
    fetch = ["download", "--store", "s3://ecg-open/1.0", "--endpoint", server, "--out", str(tmp_path / "out")]
    run = CliRunner().invoke(ecg, [*fetch, "a/b/sim02"])
    assert run.exit_code == 0 and list_records(str(tmp_path / "out")) == ["sim02"]
    run = CliRunner().invoke(ecg, [*fetch, "c/sim01", "a/b/sim02"])
    headers = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.hea")}
    assert run.exit_code == 0 and headers == {"c/sim01.hea", "a/b/sim02.hea"}
    for name, said in (("sim01", "sim01: expected a header"), ("a/b/sim", "a/b/sim: expected a header")):
        run = CliRunner().invoke(ecg, [*fetch, name])
        assert run.exit_code == 1 and said in run.output
    assert "s3://ecg-open/1.0: expected a header" in CliRunner().invoke(ecg, fetch).output
    fetch[2] = "s3://ecg-open"
    assert "s3://ecg-open: expected a database with its SHA256SUMS.txt" in CliRunner().invoke(ecg, fetch).output


def test_a_name_that_is_no_record_gets_no_row(tmp_path):
    asked = ["score", "--store", str(tmp_path), "--out", str(tmp_path / "out"), "--jobs", "1", "../100", "=1+1"]
    run = CliRunner().invoke(ecg, asked)
    assert (run.exit_code, run.output.count("expected a record's name")) == (1, 2)
    assert not (tmp_path / "out").exists()


def test_a_place_that_takes_no_results_is_told_before_anything_is_scored(tmp_path):
    write_records(tmp_path, n_records=1, minutes=0.5)
    for place, found in ((tmp_path / "sim01.hea", "a file where a folder"), ("gs://b", "neither a folder nor")):
        run = CliRunner().invoke(ecg, ["score", "--store", str(tmp_path), "--out", str(place)])
        assert (run.exit_code, found in run.output) == (1, True)


def test_answers_as_annotations_are_the_beats_that_wfdb_reads(tmp_path, made):
    recording, _ = made
    answers = score_recording(recording)
    paced, none = replace(answers, paced=np.arange(len(answers.time_s)) == 1), answers.classes.copy()
    none[2] = -1
    answers = replace(paced, classes=none)
    (tmp_path / "sim01.beats").write_bytes(answers_as_annotations(answers, recording.fs_hz))
    with _wfdb() as wfdb:
        found = wfdb.rdann(str(tmp_path / "sim01"), "beats")
    assert np.abs(found.sample / recording.fs_hz - answers.time_s).max() <= 0.5 / recording.fs_hz
    assert found.symbol[1:3] == ["/", "Q"] and found.symbol[3] == CLASSES[answers.classes[3]]
    assert [note == "review" for note in found.aux_note] == answers.review.tolist()


def test_a_store_without_records_is_no_success(tmp_path):
    run = CliRunner().invoke(ecg, ["score", "--store", str(tmp_path), "--out", str(tmp_path / "out")])
    assert (run.exit_code, "expected records" in run.output) == (1, True)
    run = CliRunner().invoke(ecg, ["train", "--records", str(tmp_path), "--out", str(tmp_path / "model.json")])
    assert (run.exit_code, "two records at least" in run.output) == (1, True)
    (tmp_path / "holter.edf").touch()
    run = CliRunner().invoke(ecg, ["score", "--store", str(tmp_path / "holter.edf"), "--out", str(tmp_path / "out")])
    assert (run.exit_code, "holter.edf: expected a folder or s3://bucket, found a file" in run.output) == (1, True)


def test_no_records_make_no_table_and_a_stopped_run_leaves_the_one_before(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text("as it was")
    asked = ["csv", "--records", str(tmp_path), "--out", str(tmp_path / "rows.csv")]
    run = CliRunner().invoke(ecg, asked)
    assert (run.exit_code, "expected records" in run.output) == (1, True)
    write_records(tmp_path, n_records=2, minutes=0.5)
    monkeypatch.setattr("dreem_case.ecg.wfdb_files.csv_lines", lambda *_: iter([]).throw(KeyboardInterrupt))
    assert CliRunner().invoke(ecg, asked).exit_code == 1
    assert (tmp_path / "rows.csv").read_text() == "as it was"
    assert not list(tmp_path.glob(".rows*"))


@pytest.mark.parametrize(("kind", "found"), [("trees", "a folder"), ("network", "a file")])
def test_a_place_that_cannot_take_the_model_is_told_before_anything_is_learned(tmp_path, kind, found):
    place = tmp_path if kind == "trees" else tmp_path / "a.json"
    (tmp_path / "a.json").touch()
    run = CliRunner().invoke(ecg, ["train", "--records", str(tmp_path), "--out", str(place), "--kind", kind])
    assert (run.exit_code, f"for the result, found {found}" in run.output) == (1, True)


def test_a_place_without_access_is_told_before_anything_is_learned(tmp_path, monkeypatch):
    def closed(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr("dreem_case.core.command_line.TemporaryFile", closed)
    run = CliRunner().invoke(ecg, ["train", "--records", str(tmp_path), "--out", str(tmp_path / "new" / "m.json")])
    assert (run.exit_code, "Permission denied" in run.output) == (1, True)


@pytest.mark.parametrize("content", ["time,class\n", "[1]", '{"a": 1}', "\udcff"])
def test_a_results_file_that_is_none_is_told_before_anything_is_learned(tmp_path, content):
    write_records(tmp_path, n_records=2, minutes=0.5)
    (tmp_path / "r.json").write_text(content, errors="surrogateescape")
    run = CliRunner().invoke(ecg, ["evaluate", "--records", str(tmp_path), "--results", str(tmp_path / "r.json")])
    assert run.exit_code == 1
    assert "r.json: expected a file of figures in JSON, found something else" in run.output


def test_figures_of_two_folders_do_not_share_a_name(tmp_path):
    for name, gain in (("a", 200), ("b", 300), ("copy", 200)):
        (tmp_path / name).mkdir()
        header = f"100 1 360 100\n100.dat 212 {gain} 11 1024 0 5 0 MLII\n"
        (tmp_path / name / "100.hea").write_text(header)
    a, b, copy = (data_of(tmp_path / name) for name in ("a", "b", "copy"))
    assert a == copy != b


def test_no_beat_to_judge_is_no_figure_and_no_warning():
    assert np.isnan(gross({"r": (np.array([0, 2]), np.array([-1, -1]))})["f3"])


def test_a_record_without_annotations_does_not_spoil_the_table_of_the_others(tmp_path):
    write_records(tmp_path, n_records=2, minutes=0.5)
    (tmp_path / "sim01.atr").unlink()
    run = CliRunner().invoke(ecg, ["csv", "--records", str(tmp_path), "--out", str(tmp_path / "rows.csv")])
    assert run.exit_code == 1
    assert "sim01: expected annotations in sim01.atr, found none" in run.output
    assert (tmp_path / "rows.csv").read_text().startswith("sim02,")


def test_records_of_another_rate_are_evaluated_without_rows_of_the_table(tmp_path):
    for record in ("a", "b"):
        write_wfdb(tmp_path, *simulate_record(record, "ventricular beats", 0.5, fs_hz=128))
    found = of_signals(tmp_path)
    assert found.pop("csv.records_without_rows") == 2 and set(found) == {"detect.se", "detect.ppv"}


def test_a_record_that_cannot_be_read_is_not_taken_for_one_without_rows(tmp_path, monkeypatch):
    write_records(tmp_path, n_records=1, minutes=0.5)
    monkeypatch.setattr("dreem_case.ecg.findings.of_detection", lambda folder: {})
    (tmp_path / "sim01.dat").unlink()
    with pytest.raises(EcgError, match=r"sim01: expected a file sim01\.dat"):
        of_signals(tmp_path)


def test_a_model_of_few_patients_can_be_read_again(tmp_path):
    classes = np.repeat([0, 2], 50)
    sure = np.eye(4)[classes] * 0.999 + 0.00025  # never wrong: as soft as nothing
    model = calibrated(shipped_model(), sure, classes)
    save_classifier(model, tmp_path / "model.json")
    assert load_classifier(tmp_path / "model.json").version == model.version


@pytest.mark.parametrize(("letter", "found"), [("N", "N alone"), ("Q", "none")])
def test_beats_of_one_class_or_of_none_are_too_few_to_learn_from(made, tmp_path, letter, found):
    recording, beats = made
    for record in "abcd":
        write_wfdb(tmp_path, replace(recording, record=record), replace(beats, symbols=(letter,) * len(beats.symbols)))
    run = CliRunner().invoke(ecg, ["train", "--records", str(tmp_path), "--out", str(tmp_path / "model.json")])
    assert run.exit_code == 1
    assert f"expected beats annotated as two of N, S, V, F at least, found {found}" in run.output


def _of_two(folder, way):
    """Write six records of two people, told by a comment of the header or by a table."""
    records = write_records(folder, n_records=6, minutes=0.5)
    for i, record in enumerate(records):
        if way == "the header's comment":
            with (folder / f"{record}.hea").open("a") as file:
                file.write(f"# patient {i // 3 + 1}\n# PVCs, noise\n")
    if way == "patients.csv":
        rows = [f"{record},{i // 3 + 1}" for i, record in enumerate(records)]
        (folder / "patients.csv").write_text("\n".join(["record,patient", *rows]))
    return records


@pytest.mark.parametrize("way", ["the header's comment", "patients.csv"])
def test_records_of_one_person_stand_on_one_side_of_the_split_and_it_is_said_by_what(tmp_path, way):
    records = _of_two(tmp_path, way)
    assert split_of(tmp_path) == (records[:3], records[3:])
    run = CliRunner().invoke(ecg, ["train", "--records", str(tmp_path), "--out", str(tmp_path / "model.json")])
    assert f"records: 3; patients: 1, each by {way}" in run.output
    assert (run.exit_code, "two patients at least" in run.output) == (1, True)  # to be honest about


def test_a_training_reads_each_record_once(tmp_path, monkeypatch):
    names, read = write_records(tmp_path / "in", n_records=4, minutes=1), []
    monkeypatch.setattr(study, "read_wfdb", lambda *which: read.append(which[1]) or read_wfdb(*which))
    asked = ["train", "--all", "--records", str(tmp_path / "in"), "--out", str(tmp_path / "model.json")]
    run = CliRunner().invoke(ecg, asked)
    assert (run.exit_code, sorted(read), "records: 4; patients: 4" in run.output) == (0, names, True)


def test_the_shadow_counts_people_and_not_records(tmp_path):
    records = _of_two(tmp_path, "patients.csv")
    same = list(shadow(str(tmp_path), shipped_model(), shipped_model(), records))
    assert differences(same, "flagged").n_groups == 2


def test_a_table_of_patients_that_leaves_a_record_out_or_is_no_table_is_refused(tmp_path):
    records = _of_two(tmp_path, "patients.csv")
    (tmp_path / "patients.csv").write_text(f"{records[0]},1\n")
    with pytest.raises(EcgError, match=f"{records[1]}: expected one row {records[1]},patient in patients.csv, found 0"):
        split_of(tmp_path)
    (tmp_path / "patients.csv").write_bytes(b"\xff\xfe1")
    with pytest.raises(EcgError, match=r"patients.csv: expected a table"):
        split_of(tmp_path)


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_paced_beats_are_named_so_and_no_other_beats_are(rhythm):
    recording, beats = simulate_record("r", rhythm, minutes=2, seed=3)
    for time_s in (None, beats.time_s):  # found, and marked
        answers = score_recording(recording, time_s=time_s)
        assert answers.paced.mean() > 0.9 if rhythm == "paced" else not answers.paced.any()
    assert (answers.classes[answers.paced] == -1).all()
    said = answer_json(answers)
    assert {beat["class"] for beat in said["beats"] if beat["paced"]} <= {"Q"}
    assert said["paced"] == answers.paced.sum() and any("paced" in note for note in said["notes"]) == (
        rhythm == "paced"
    )


@pytest.mark.parametrize("fs_hz", [250, 360, 500, 1000])
@pytest.mark.parametrize("spikes_s", [(-0.05,), (-0.2, -0.05)])  # of the ventricle alone, and of both chambers
@pytest.mark.parametrize("height_mv", [0.6, 3, 30])
def test_a_spike_higher_than_the_beat_is_no_beat_and_tells_of_a_pacemaker(fs_hz, spikes_s, height_mv):
    recording, beats = simulate_record("paced", "paced", 1, fs_hz, seed=5)
    leads = {name: lead.copy() for name, lead in recording.leads.items()}
    for at in np.round((beats.time_s[:, None] + spikes_s) * fs_hz).astype(int).ravel():
        for lead, sign in zip(leads.values(), (1, -0.5), strict=True):
            lead[at : at + max(1, round(0.002 * fs_hz))] += sign * height_mv
    answers = score_recording(make_recording("paced", fs_hz, leads))
    assert len(answers.time_s) == len(match_beats(beats.time_s, answers.time_s)) == len(beats.time_s)
    assert np.abs(answers.time_s - beats.time_s).max() < 0.05
    assert answers.paced.mean() > 0.9


@pytest.mark.parametrize("rhythm", ["sinus", "atrial beats"])
def test_a_moving_electrode_is_no_pacemaker(rhythm):
    recording, _ = simulate_record("r", rhythm, minutes=6, seed=3)
    random, n = np.random.default_rng(1), recording.n_samples
    moves = np.arange(n) // (60 * 360) % 2  # every second minute
    leads = {}
    for name, lead in recording.leads.items():
        jumps = np.where(random.random(n) < 1.5 / 360, random.normal(0, 1, n), 0)
        leads[name] = lead + moves * lfilter([1], [1, -np.exp(-1 / (0.3 * 360))], jumps)
    answers = score_recording(make_recording("r", 360, leads))
    assert not answers.paced.any() and (answers.why > 0).mean() > 0.1


def test_a_lead_that_is_mostly_off_or_nothing_but_noise_keeps_its_samples():
    random = np.random.default_rng(0)
    off = np.where(np.arange(9000) < 2000, random.normal(0, 1, 9000), 0).astype(np.float32)
    for lead in (off, off + random.normal(0, 0.001, 9000).astype(np.float32), random.normal(0, 1, 9000)):
        np.testing.assert_array_equal(without_spikes(lead, 360), lead)


def test_a_paced_beat_that_a_person_labels_is_what_the_person_says():
    recording, beats = simulate_record("r", "paced", minutes=2, seed=3)
    answers, own = score_recording(recording, time_s=beats.time_s), np.arange(len(beats.time_s)) < 4
    classes = np.where(own, 0, answers.classes).astype(np.int8)
    answers = replace(answers, classes=classes, paced=answers.paced & ~own)  # four beats of the heart's own
    said = answer_json(with_labels(answers, shipped_model(), 2, {float(answers.time_s[10]): "V"}))
    assert said["beats"][10]["class"] == "V" and not said["beats"][10]["paced"]
    assert said["beats"][11]["class"] == "Q" and said["beats"][11]["paced"]
    assert sum(said["counts"].values()) + said["paced"] + said["without_class"] == len(said["beats"])


@pytest.mark.parametrize(
    ("record", "least", "most"),
    [("102", 0.7, 1), ("104", 0.25, 0.35), ("107", 0.7, 1), ("217", 0.7, 0.85), ("231", 0, 0), ("208", 0, 0)],
)
def test_paced_beats_of_real_patients_are_named_so(real_data, record, least, most):
    answers = score_recording(open_case(real_data / "mitbih", record).recording)
    assert least <= answers.paced.mean() <= most


def test_a_training_that_cannot_be_told_to_mlflow_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    (tmp_path / "in").mkdir()
    asked = ["train", "--records", str(tmp_path / "in"), "--out", str(tmp_path / "m.json"), "--mlflow"]
    result = CliRunner().invoke(ecg, asked)
    assert result.exit_code == 1 and "pip install 'dreem_case[tracking]'" in result.output


def test_a_candidate_that_calls_every_beat_normal_is_seen_in_the_shadow(tmp_path):
    write_records(tmp_path, n_records=4, minutes=1)
    model = shipped_model()

    class OnlyNormal(BeatClassifier):
        def weighted(self, table):
            return np.tile([0.97, 0.01, 0.01, 0.01], (len(table.rows), 1))

    candidate = OnlyNormal(**{one.name: getattr(model, one.name) for one in fields(model)})
    found = list(shadow(str(tmp_path), model, candidate))
    assert all(one.candidate["V"] == one.candidate["S"] == 0 for one in found)
    early = [one for one in found if one.in_use["V"] + one.in_use["S"]]
    assert early and all(0 < one.changed < 1 and one.candidate["right"] < one.in_use["right"] for one in early)
    assert differences(found).value < 0


def test_a_model_beside_itself_changes_nothing_in_noise_either():
    noisy = with_noise(*simulate_record("sim02", "sinus", minutes=3, seed=6), "electrode_motion", 0)
    assert (score_recording(noisy).why == WHY.index("hardly above noise")).any()
    one = compare(noisy, "a", None, shipped_model(), shipped_model())
    assert one.changed == 0 and one.in_use == one.candidate


@pytest.mark.parametrize("command", ["judge", "shadow", "csv", "train"])
def test_a_file_that_ends_before_its_annotations_is_told_and_what_is_not_there_is_not_missed(tmp_path, command):
    write_records(tmp_path / "in", n_records=3, minutes=1)
    samples = tmp_path / "in" / "sim01.dat"
    samples.write_bytes(samples.read_bytes()[: samples.stat().st_size // 2])
    asked = {
        "judge": ["--store", str(tmp_path / "in"), "sim01"],
        "shadow": ["--store", str(tmp_path / "in"), "--candidate", str(MODEL_FILE), "sim01"],
        "csv": ["--records", str(tmp_path / "in"), "--out", str(tmp_path / "rows.csv")],
        "train": ["--records", str(tmp_path / "in"), "--out", str(tmp_path / "model.json")],
    }
    run = CliRunner().invoke(ecg, [command, *asked[command]])
    assert "sim01: expected 21600 samples, found 10800: the file ends early\nsim01: " in run.output
    assert " annotations lie outside the record; left out" in run.output
    assert command != "judge" or " 100.00% found" in run.stdout


def test_the_shadow_says_on_which_records_a_model_is_no_stranger(tmp_path):
    write_records(tmp_path / "in", n_records=2, minutes=1)
    save_classifier(replace(shipped_model(), card={"records": ["sim02"]}), tmp_path / "candidate.json")
    asked = ["shadow", "--store", str(tmp_path / "in"), "--candidate", str(tmp_path / "candidate.json"), "--json"]
    assert "the candidate learned from records of these names: sim02;" in CliRunner().invoke(ecg, asked).stderr


def test_the_shadow_tells_of_records_without_annotated_beats(tmp_path):
    write_records(tmp_path, n_records=2, minutes=0.5)
    (tmp_path / "sim01.atr").unlink()
    (tmp_path / "sim02.atr").write_bytes(b"\x00\x00")  # of rhythms, say
    asked = ["shadow", "--store", str(tmp_path), "--candidate", str(MODEL_FILE)]
    run = CliRunner().invoke(ecg, asked)
    assert run.exit_code == 0
    assert run.output.count("0.0% of") == 2
    assert "right" not in run.output


def test_what_is_found_and_named_is_counted_against_the_annotations(made):
    recording, beats = made
    model, n = shipped_model(), len(beats.time_s)
    before = against_annotations(recording, "anybody", beats, (), model)
    kept = np.setdiff1d(np.arange(n), [20, 40, 60])  # three beats that nobody has annotated are extra
    symbols = np.array(beats.symbols, dtype="<U1")[kept]
    symbols[30:34] = "Q"  # whose class is unknown: found, and not judged
    fewer = replace(beats, time_s=beats.time_s[kept], symbols=tuple(symbols))
    after = against_annotations(recording, "anybody", fewer, (), model)
    assert (after.detected - before.detected).tolist() == [-3, 0, 3]
    assert after.confusion.sum() + after.without_class == before.confusion.sum() + before.without_class - 7
    flutter = against_annotations(recording, "anybody", beats, [(60.0, 90.0)], model)
    away = ((beats.time_s >= 59.85) & (beats.time_s <= 90.15)).sum()
    assert flutter.detected[:2].sum() == n - away and flutter.detected[2] <= before.detected[2]


def test_records_are_judged_by_patient_and_one_without_annotated_beats_is_named(tmp_path):
    write_records(tmp_path, n_records=4, minutes=1)
    (tmp_path / "patients.csv").write_text("record,patient\nsim01,a\nsim02,a\nsim03,b\n", encoding="utf-8")
    (tmp_path / "sim03.atr").write_bytes(b"\x00\x00")
    run = CliRunner().invoke(ecg, ["judge", "--store", str(tmp_path), "--json", "sim01", "sim02", "sim03"])
    assert run.exit_code == 1 and "sim03: expected annotated beats" in run.stderr
    figures = json.loads(run.stdout)
    assert figures["patients"] == 1 and "f3_low" not in figures and figures["detected_se"] > 0.9
    asked = ["judge", "--store", str(tmp_path), "sim01", "sim02"]
    assert "together, 1 patient: F1" in CliRunner().invoke(ecg, asked).stdout


def test_a_judge_says_which_records_the_model_has_learned_from(made, tmp_path):
    recording, beats = made
    learned = shipped_model().card["records"][0]
    for record in (learned, "new"):
        write_wfdb(tmp_path, replace(recording, record=record), beats)
    said = CliRunner().invoke(ecg, ["judge", "--store", str(tmp_path)]).stderr
    assert f"records of these names: {learned}; its figures on them are too good" in said


def test_copies_of_a_record_under_other_names_are_of_its_patient_and_the_judge_says_so(made, tmp_path):
    recording, beats = made
    learned = shipped_model().card["records"][0]
    for record in (f"sel{learned}", f"{learned}e06", f"{learned}e_6"):
        write_wfdb(tmp_path, replace(recording, record=record), beats)
    run = CliRunner().invoke(ecg, ["judge", "--store", str(tmp_path)])
    assert f"records of these names: {learned}; its figures on them are too good" in run.stderr
    assert "together, 1 patient: F1" in run.stdout


def test_where_beats_are_only_placed_detection_is_judged_and_no_class(made, tmp_path):
    recording, beats = made
    for record in ("a", "b"):
        write_wfdb(tmp_path, replace(recording, record=record), beats)
        (tmp_path / f"{record}.atr").rename(tmp_path / f"{record}.qrs")
    run = CliRunner().invoke(ecg, ["judge", "--store", str(tmp_path)])
    assert run.exit_code == 0 and "100.00% found" in run.stdout
    assert "no class is judged: no beat that is given one is annotated as N, S, V or F" in run.stdout


def test_figures_of_several_records_add_up_their_beats(made):
    recording, beats = made
    one = against_annotations(recording, "a", beats, (), shipped_model())
    alone, both = summed_up([one]), summed_up([one, replace(one, patient="b")])
    assert both["beats"] == 2 * alone["beats"] and both["f3"] == pytest.approx(alone["f3"])
    assert both["f3_low"] == pytest.approx(both["f3_high"]) == pytest.approx(alone["f3"])


def test_ventricular_beats_of_real_patients_who_were_not_learned_from_are_found(real_data):
    case = open_case(real_data / "mitbih", "221")
    answers = score_recording(case.recording, time_s=case.beats.time_s)
    assert (answers.classes[case.example.classes == 2] == 2).mean() > 0.9
    assert "221" not in shipped_model().card["records"]


def test_the_split_of_real_records_is_de_chazals(real_data):
    learn, judge = split_of(real_data / "mitbih")
    assert (len(learn), len(judge), "232" in judge) == (22, 22, True)


def test_a_real_day_in_pieces_is_the_record_itself(real_data):
    recording = read_wfdb(real_data / "mitbih", "100")
    assert len(score_recording(recording).classes) == pytest.approx(2273, rel=0.01)


def test_folds_that_are_fitted_at_the_same_time_are_named_as_one_after_the_other(tmp_path):
    records = write_records(tmp_path, n_records=4, minutes=1)
    examples, patients = with_made(open_cases(tmp_path, records), records)
    fit = partial(fit_both, n_rounds=3)
    alone, both = (held_out(examples, patients, 2, fit, n_threads=n) for n in (1, 2))
    assert all(np.array_equal(*pair) for pair in zip(alone, both, strict=True))


def test_shifts_cost_the_same_by_several_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "SHIFTS", {name: findings.SHIFTS[name] for name in ("swapped", "gaps_20")})
    records = write_records(tmp_path, n_records=4, minutes=0.5)
    cases = open_cases(tmp_path, records)
    alone, both = (dict(of_shifts(shipped_model(), cases, records[:2], records[2:], n)) for n in (1, 2))
    assert alone == pytest.approx(both, nan_ok=True)
    assert len(alone) == 3 + 2 * 17


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Simulated patients, as cases."""
    folder = tmp_path_factory.mktemp("cases")
    return open_cases(folder, write_records(folder, n_records=6, minutes=2, seed=3))


def test_the_halves_of_a_blend_name_beats_alone_and_together_as_it_does(cases):
    case = cases["sim01"]
    table, model = case.example.tables[0], shipped_model()
    trees, regression, both = (half.weighted(table) for half in halves_of(model).values())
    mean = trees / [1, 1, 1, 4] / (trees / [1, 1, 1, 4]).sum(axis=1, keepdims=True)
    mean = mean + regression / [1, 1, 1, 4] / (regression / [1, 1, 1, 4]).sum(axis=1, keepdims=True)
    mean = mean * [1, 1, 1, 4]
    assert mean / mean.sum(axis=1, keepdims=True) == pytest.approx(both)
    assert np.array_equal(both, model.weighted(table)) and not np.allclose(trees, regression)


def test_each_model_is_judged_on_patients_apart_and_on_a_random_split_under_its_own_name(cases):
    records = list(cases)
    model = fit_both([cases[r].example for r in records[:3]], n_rounds=3)
    found = both_ways(model, cases, records[3:], records, n_rounds=3)
    for name in ("", "trees.", "regression."):
        for way in ("ds2", "random_split"):
            assert found[f"{name}{way}.f3_low"] <= found[f"{name}{way}.f3"] <= found[f"{name}{way}.f3_high"]
    plain = gross(judged(cases, answers_of(model, cases, records[3:])))
    assert found["ds2.f4"] == plain["f4"] and found["trees.ds2.f4"] != found["regression.ds2.f4"]


def test_a_flag_is_judged_by_the_errors_on_rare_beats_too():
    truth = np.array([0] * 90 + [1] * 10)
    weighted = np.tile([0.9, 0.1, 0.0, 0.0], (100, 1))
    weighted[:8] = weighted[90:92] = 0.4, 0.6, 0.0, 0.0  # eight errors on N, two atrial beats named rightly
    found = flags(weighted, weighted, truth)["confidence"]
    assert found == {"errors_caught": 0.5, "rare_errors_caught": 0.0}
    other = flags(weighted, weighted * [1, 9, 1, 1], truth)
    assert other["called N, and may be S, V or F"]["rare_errors_caught"] == 0.0


def test_errors_caught_are_told_by_class(cases):
    weighted = answers_of(shipped_model(), cases, cases)
    found = honesty(shipped_model(), cases, weighted)
    truth = np.concatenate([case.example.classes for case in cases.values()])
    given = np.concatenate(list(weighted.values())).argmax(axis=1)
    errors = [((given != truth) & (truth == kind)).sum() for kind in range(4)]
    caught = [found[f"flagged_10.{name}_errors_caught"] * n for name, n in zip("nsvf", errors, strict=True) if n]
    assert sum(caught) == pytest.approx(found["flagged_10.errors_caught"] * sum(errors))


def test_what_is_left_out_gains_nothing_where_nothing_changes():
    matrices = {"a": np.diag([5, 4, 3, 2]), "b": np.diag([1, 1, 1, 1])}
    worse = {"a": matrices["a"], "b": np.ones((4, 4), int)}
    found = gained({"nothing": matrices, "something": worse})
    assert {value for key, value in found["nothing"].items() if "gain" in key} == {0.0}
    assert found["something"]["f3_gain"] > 0 and found["something"]["f3_gain_low"] == 0


def test_a_typical_beat_is_shown_of_each_class_that_a_record_has_enough_of(cases):
    for case in cases.values():
        counts = np.bincount(case.example.classes, minlength=5)[:4]
        shapes = typical_beats(case)
        assert set(shapes) == {name for name, n in zip(CLASSES, counts, strict=False) if n >= 10}
        assert all(np.isfinite(shape).all() for shape in shapes.values())
    classes = {record: len(typical_beats(case)) for record, case in cases.items()}
    assert all(classes[record] == max(classes.values()) for record in most_varied(cases, 1))


def test_a_feature_alone_tells_early_beats_from_normal_ones_and_noise_tells_nothing(cases):
    random, each = np.random.default_rng(0), {}
    for record, case in cases.items():
        table = case.example.tables[0]
        rows = table.rows.copy()
        rows[:, 0], rows[:, 1] = random.normal(size=len(rows)), case.example.classes == 2
        each[record] = replace(case, example=replace(case.example, tables=(replace(table, rows=rows),)))
    area = alone(each, 2)
    assert len(area) == len(usual_values(each, 2)) > 0
    assert abs(np.median(area[:, 0]) - 0.5) < 0.2 and (area[:, 1] == 1).all()
    assert best_of_groups(each, 2)["rhythm"][1] == pytest.approx(area[:, 1])
    first = next(record for record, case in each.items() if (case.example.classes == 2).sum() >= 10)
    assert alone_together(each, 2)[1] == 1 and alone_together({first: each[first]}, 2) == pytest.approx(area[0])


def test_the_command_says_what_each_augmentation_gives(tmp_path, monkeypatch):
    row = {"f3": 0.8, "f3_gain": 0.012}
    monkeypatch.setattr(
        findings, "measure_on_folds", lambda *_: {"trees": {"reordered": row}, "network": {"muscle": row}}
    )
    run = CliRunner().invoke(ecg, ["folds", "--records", str(tmp_path), "--out", str(tmp_path / "folds.json")])
    assert [line.split() for line in run.output.splitlines()] == [
        [*start.split(), "F3", "0.800,", "gained", "by", "having", "it", "+0.012"]
        for start in ("trees without reordered", "network without muscle")
    ]


def test_of_a_class_that_nobody_has_nothing_is_told(cases):
    without = {}
    for record, case in cases.items():
        classes = np.where(case.example.classes == 3, 0, case.example.classes)
        without[record] = replace(case, example=replace(case.example, classes=classes))
    assert len(alone(without, 3)) == len(usual_values(without, 3)) == len(best_of_groups(without, 3)) == 0


def test_a_lead_is_left_by_its_name_and_a_record_without_it_is_not_counted(cases, monkeypatch):
    monkeypatch.setattr(findings, "SHIFTS", {name: findings.SHIFTS[name] for name in ("only_V1", "only_V5")})
    records = list(cases)
    found = dict(of_shifts(shipped_model(), cases, records[:3], records[3:], groups={"first": records[:2]}))
    assert found["shift.only_V1.records"] == 3 and not any("only_V5" in key for key in found)
    assert found["patients.first.patients"] == 2


def test_false_beats_called_ventricular_count_and_where_nothing_is_found_all_are_missed(tmp_path, monkeypatch, made):
    monkeypatch.setattr(findings, "FOUND", ("none", "nothing"))
    monkeypatch.setitem(findings.SHIFTS, "nothing", lambda r, b: amplified(r, 0.0))
    write_wfdb(tmp_path, *made)
    case = open_case(tmp_path, "sim01")
    is_v = case.beats.classes == 2
    kept = replace(case.beats, time_s=case.beats.time_s[~is_v], symbols=tuple(np.array(case.beats.symbols)[~is_v]))
    cases = case, replace(case, beats=kept)
    whole, fewer = (of_found_beats(shipped_model(), {"sim01": one}, ["sim01"]) for one in cases)
    key = "shift.none.end_to_end"
    assert whole[f"{key}.v_ppv_with_false"] > 0.9 and fewer[f"{key}.v_ppv_with_false"] < 0.1
    assert (whole["shift.nothing.end_to_end.missed"], whole["shift.nothing.end_to_end.refused"]) == (1, 0)


def test_a_shift_that_changes_nothing_loses_nothing_however_many_beats_are_refused(tmp_path):
    write_records(tmp_path, n_records=2, minutes=1)
    cases = {record: open_case(tmp_path, record) for record in ("sim01", "sim02")}
    calm = {r: look_at(shipped_model(), case.recording, case.signals, case.beats.time_s) for r, case in cases.items()}
    half = {r: replace(s, classes=np.where(np.arange(len(s.guessed)) % 2, s.guessed, -1)) for r, s in calm.items()}
    lost = _loss(cases, calm, half)
    assert {value for name, value in lost.items() if "loss" in name and np.isfinite(value)} == {0.0}


def test_monitoring_keeps_quiet_about_records_like_the_others_and_sees_noise(tmp_path):
    folder, names = tmp_path, write_records(tmp_path, n_records=24, minutes=1, seed=4)
    cases = {record: open_case(folder, record) for record in names}
    seen = {r: look_at(shipped_model(), case.recording, case.signals, case.beats.time_s) for r, case in cases.items()}
    reference = make_reference([seen[r] for r in names[:18]])
    raised = [stands_out(reference, watched(reference, seen[r])) for r in names[18:]]
    noisy = [with_noise(cases[r].recording, cases[r].beats, "electrode_motion", -6) for r in names[18:]]
    looked = [look_at(shipped_model(), x, filtered(x), cases[x.record].beats.time_s) for x in noisy]
    assert sum(raised) <= 2
    assert sum(stands_out(reference, watched(reference, record)) for record in looked) >= 4


def test_pieces_of_a_long_record_give_each_beat_once():
    recording, beats = simulate_record("long", "ventricular beats", minutes=3, seed=5)
    leads = {name: np.tile(lead, 25) for name, lead in recording.leads.items()}
    found = score_recording(make_recording("long", 360, leads)).time_s
    assert (np.diff(found) > 0.2).all()
    assert len(found) == pytest.approx(25 * len(beats.time_s), rel=0.02)


def test_a_record_that_was_replaced_is_read_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint, "_place", lambda: str(tmp_path))
    client, found = served(), []
    for seed in (1, 2):
        write_records(tmp_path, n_records=1, minutes=1, seed=seed)
        found.append(client.get("/beats/sim01").json["beats"])
    assert found[0] != found[1]


def test_a_refusal_names_the_record_what_was_expected_and_what_was_found(client):
    said = client.get("/beats/nobody").json
    assert (said["status"], said["record"]) == (404, "nobody")
    assert said["detail"] == f"nobody: expected {said['expected']}, found {said['found']}"


def test_who_asks_for_a_record_that_is_being_scored_waits_for_it_and_scores_nothing(tmp_path, monkeypatch):
    write_records(tmp_path, n_records=1, minutes=0.5)
    both, scored = threading.Barrier(2), []

    def score(recording, model):
        scored.append(recording.record)
        with suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.3)  # for another that scores: there is none
        return score_recording(recording, model)

    monkeypatch.setattr(endpoint, "_place", lambda: str(tmp_path))
    monkeypatch.setattr(endpoint, "score_recording", score)
    app = served().application
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: app.test_client().get("/beats/sim01").json, range(2)))
    assert answers[0] == answers[1] and answers[0]["beats"] and scored == ["sim01"]


def test_a_strip_is_the_signal_with_nothing_where_there_is_none():
    lead = np.arange(3600, dtype=np.float32) / 1000
    lead[720:730] = np.nan
    strip = endpoint.strip_json(make_recording("one", 360, {"MLII": lead}), 1, 2)
    assert (strip["from_s"], strip["duration_s"], len(strip["leads"]["MLII"])) == (1, 10, 720)
    assert strip["leads"]["MLII"][:2] == [0.36, 0.361]
    assert strip["leads"]["MLII"][360:371] == [None] * 10 + [0.73]


def test_a_strip_of_a_fast_recording_is_thinned_and_bounded():
    strip = endpoint.strip_json(make_recording("one", 1000, {"I": np.sin(np.arange(200_000) / 50)}), 0, 1e5)
    assert len(strip["leads"]["I"]) == endpoint.MAX_STRIP_S * 250


def test_a_strip_behind_the_end_is_empty(client):
    record = client.get("/beats").json["records"][0]
    assert set(map(len, client.get(f"/beats/{record}/strip?from=9999").json["leads"].values())) == {0}


@pytest.mark.parametrize("query", ["from=x", "from=-1", "from=nan", "seconds=inf", "from=1e9"])
def test_a_time_that_is_none_is_refused(client, query):
    record = client.get("/beats").json["records"][0]
    assert client.get(f"/beats/{record}/strip?{query}").status_code == 422


@pytest.mark.parametrize("path", ["/strips/", "/strips/any", "/strip-files/strip.js", "/strip-files/strip.css"])
def test_the_page_is_served(client, path):
    answer = client.get(path, buffered=True)
    assert answer.status_code == 200
    assert "http" not in answer.text.replace("http://www.w3.org", "")


def test_the_short_address_of_the_page_leads_nowhere_else(client):
    answer = client.get("/strips", headers={"Host": "elsewhere.example"})
    assert (answer.status_code, answer.headers["Location"]) == (308, "strips/")


def test_what_is_put_into_a_gap_leaves_the_rest_as_it_was_and_is_no_gap_any_more():
    random = np.random.default_rng(3)
    time_s = np.cumsum(random.uniform(0.7, 0.9, 60))
    x = random.normal(0, 0.02, (2, int(50 * FS_HZ))).astype(np.float32)
    x[:, np.round(time_s * FS_HZ).astype(int)] += 1
    missing = np.zeros(x.shape, bool)
    missing[:, 1000:1200] = missing[0, 3000:3010] = missing[:, :5] = missing[:, -7:] = True
    gapped = Signals(("I", "II"), x, missing)
    for way in WAYS:
        whole = filled(gapped, time_s[(time_s < 8) | (time_s > 9.6)], way)
        assert not whole.missing.any() and np.isfinite(whole.x).all()
        assert np.array_equal(whole.x[~missing], x[~missing])
    assert distance(gapped, gapped, missing) == 0
    assert not filled(gapped, np.zeros(0), "template").x[:, 1000:1200].any()  # no beat is known


def test_a_beat_in_a_gap_gets_no_class_and_one_beside_it_keeps_its_own(tmp_path):
    records = write_records(tmp_path, n_records=2, minutes=2, seed=5)
    cases = {record: open_case(tmp_path, record) for record in records}
    found = without_signal(shipped_model(), cases, records, 0.1, seconds=100)
    unscored = np.concatenate([given for _, given in found["unscored"][1].values()])
    unknown = np.concatenate([given for _, given in found["unknown"][1].values()])
    assert 0.03 < (unscored < 0).mean() < 0.25 and (unknown >= 0).all()
    assert np.array_equal(unknown[unscored >= 0], unscored[unscored >= 0])
    assert {way for way in found if np.isfinite(found[way][0])} == set(WAYS)


@pytest.fixture(scope="module")
def watched_records(tmp_path_factory):
    """Six simulated records, the shipped model beside limits made of them, and what it says of them."""
    folder = tmp_path_factory.mktemp("watched")
    names = write_records(folder / "records", n_records=6, minutes=1, seed=3)
    model = folder / "model.json"
    model.write_bytes(MODEL_FILE.read_bytes())
    recordings = (read_wfdb(folder / "records", name) for name in names)
    save_reference(reference_path(model), limits_of(recordings, shipped_model()))
    return folder, names, model


def test_limits_are_read_as_they_were_written_and_belong_to_one_model(watched_records):
    folder, names, model = watched_records
    reference = load_reference(model, shipped_model().version)
    answers = score_recording(read_wfdb(folder / "records", names[0]), shipped_model())
    made = limits_of((read_wfdb(folder / "records", name) for name in names), shipped_model())
    assert told(reference, answers)["beyond"] == told(made, answers)["beyond"]
    assert load_reference(model, "another") is None and load_reference(folder / "none.json", "any") is None
    assert load_reference(None, shipped_model().version).model == shipped_model().version  # what ships fits
    (folder / "link.json").symlink_to("model.json")
    assert load_reference(folder / "link.json", shipped_model().version).limits == reference.limits


@pytest.mark.parametrize("change", [
    lambda state: state | {"edges": [[0] * 9]}, lambda state: state | {"limits": {}}, lambda state: [],
    lambda state: state | {"limits": state["limits"] | {"doubt": float("nan")}}, lambda state: state | {"n_usual": "x"},
])  # fmt: skip
def test_limits_that_are_none_are_refused(watched_records, tmp_path, change):
    state = json.loads(reference_path(watched_records[2]).read_text())
    (tmp_path / "m.monitor.json").write_text(json.dumps(change(state)))
    with pytest.raises(EcgError, match=r"m\.monitor\.json"):
        load_reference(tmp_path / "m.json", shipped_model().version)


def test_scored_records_are_watched_and_changed_limits_score_anew(watched_records, tmp_path):
    folder, names, model = watched_records
    args = ["score", "--store", str(folder / "records"), "--out", str(tmp_path), "--model", str(model), "--jobs", "1"]
    assert CliRunner().invoke(ecg, args).exit_code == 0
    rows = read_table(open_outputs(str(tmp_path)))
    answer = json.loads((tmp_path / f"{names[0]}.json").read_text())
    assert str(answer["monitoring"]["stands_out"]) == rows[names[0]]["stands_out"]
    found = json.loads(CliRunner().invoke(ecg, ["watch", "--scored", str(tmp_path), "--json"]).output)
    (of_model,) = found["models"].values()
    assert of_model["records"] == 6 and found["without_limits"] == 0
    assert of_model["stands_out"] == sum(row["stands_out"] == "True" for row in rows.values())
    assert "6 of 6 records were done before" in CliRunner().invoke(ecg, args).output
    for limit in ({}, {"doubt": 0.0, "refused": -1.0}):
        state = json.loads(reference_path(model).read_text())
        reference_path(model).write_text(json.dumps(state | {"limits": state["limits"] | limit, "n_usual": 0}))
    assert "done before" not in CliRunner().invoke(ecg, args).output
    result = CliRunner().invoke(ecg, ["watch", "--scored", str(tmp_path)])
    assert result.exit_code == 1 and "6 records, 6 stand out" in result.output
    assert "expected scored records, found none" in CliRunner().invoke(ecg, ["watch", "--scored", str(folder)]).output


def test_a_link_names_the_model_in_use_and_a_damaged_one_replaces_none(client, tmp_path, monkeypatch):
    other = replace(shipped_model(), offset=shipped_model().offset[[0, 2, 1, 3]])
    save_classifier(other, tmp_path / "other.json")
    (tmp_path / "damaged.json").write_text("{")
    link = tmp_path / "in-use.json"
    monkeypatch.setenv("DREEM_CASE_ECG_MODEL", str(link))
    answered = []
    for name in (str(MODEL_FILE), "other.json", "damaged.json", str(MODEL_FILE)):
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        answer = client.get("/beats/sim01").json
        answered.append(answer["model"])
        assert (answer["monitoring"] is None) == (answer["model"] == other.version)  # it has no limits
    assert answered == [shipped_model().version, other.version, other.version, shipped_model().version]


def test_limits_that_come_after_their_model_are_read(client, tmp_path, monkeypatch):
    monkeypatch.setenv("DREEM_CASE_ECG_MODEL", str(tmp_path / "model.json"))
    for file, own in ((MODEL_FILE, "model.json"), (reference_path(None), "model.monitor.json")):
        (tmp_path / own).write_bytes(file.read_bytes())
        assert (client.get("/beats/sim01").json["monitoring"] is None) == (own == "model.json")


def test_records_are_simulated_with_every_rhythm_electrodes_that_come_off_and_pauses_of_both_kinds(tmp_path):
    names = write_records(tmp_path, n_records=18, minutes=4)
    beats = {name: read_beats(tmp_path, name) for name in names}
    symbols = {name: np.array(one.symbols) for name, one in beats.items()}
    assert set(np.concatenate(list(symbols.values()))) == {"N", "A", "V", "F", "L", "/"}
    assert max((of == "A").mean() for of in symbols.values()) > 0.4
    leads = [lead for name in names for lead in read_wfdb(tmp_path, name).leads.values()]
    off = sum(np.diff(runs_of(lead == 0), axis=1).max(initial=0) > 2 * 360 for lead in leads)
    assert 0 < off < len(leads) / 2
    pauses = []  # with a ventricular beat between two normal ones, in the patient's own intervals
    for name, of in symbols.items():
        if (of == "V").sum() > 5 and not (of == "A").any():
            apart = np.diff(beats[name].time_s)
            at = np.flatnonzero((of[1:-1] == "V") & (of[:-2] == "N") & (of[2:] == "N")) + 1
            pauses.append(np.median((apart[at - 1] + apart[at]) / np.median(apart)))
    assert min(pauses) < 1.85 and max(pauses) > 1.95
