"""Simulated children: what causes do to signals, what a scorer makes of signals, and what a hospital's files do."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from click.testing import CliRunner

from dreem_case.core.agreement import kappa
from dreem_case.mae.children import Arousal, Failure, Sleep, draw_arousals, draw_child, draw_failures, draw_sleep
from dreem_case.mae.commands import mae
from dreem_case.mae.examples import EVENTS, SPLITS, batch_paths
from dreem_case.mae.montage import MODALITIES, RATE
from dreem_case.mae.polygraph import BREATH_HZ, FAST_HZ, breathe, fast_signals, respiratory_signals
from dreem_case.mae.psg import open_psg, read_modalities
from dreem_case.mae.scorer import Scorer, score_arousals, score_breathing, score_oxygen
from dreem_case.mae.simulate import (
    NCH,
    edf_content,
    event_table,
    oxygen_around,
    simulate_study,
    study_columns,
    study_list,
    tsv_content,
    write_study,
)
from dreem_case.nights.stages import Stage

CAREFUL = Scorer(0.2, 0.7, 3.0, 0.6, 0.0, 0.5)
MINUTES = 15


@pytest.fixture(scope="module")
def child():
    """A child whose sensors are drawn with no bad luck."""
    return replace(draw_child("1"), delay_s=10.0, fall=25.0, breaths_min=18.0, arousable=1.0)


@pytest.fixture(scope="module")
def asleep():
    """Quiet light sleep."""
    n = MINUTES * 60
    return Sleep(np.full(n // 30, Stage.N2, np.int8), np.full(n, 0.4), np.zeros(n, bool))


def breathing(child, asleep, failures, seed=3):
    rng = np.random.default_rng(seed)
    breath = breathe(child, asleep, failures, rng)
    return breath, respiratory_signals(child, breath, np.zeros(len(asleep.depth)), rng)


def size(values, start_s, stop_s):
    """Measure the size of a signal of breathing in a span."""
    part = values[int(start_s * BREATH_HZ) : int(stop_s * BREATH_HZ)]
    return float(np.percentile(part, 95) - np.percentile(part, 5))


SPAN = (300.0, 25.0)  # of a failure: start, duration


def test_in_an_obstruction_air_stops_and_effort_goes_on_out_of_phase(child, asleep):
    breath, signals = breathing(child, asleep, [Failure(*SPAN, "obstructive", 0.0)])
    inner = slice(305 * BREATH_HZ, 320 * BREATH_HZ)
    assert breath["air"][inner].max() < 0.05
    assert size(signals["RESP THORACIC"], 303, 322) > 0.6 * size(signals["RESP THORACIC"], 240, 290)
    together = [np.corrcoef(signals["RESP THORACIC"][part], signals["RESP ABDOMINAL"][part])[0, 1]
                for part in (inner, slice(250 * BREATH_HZ, 290 * BREATH_HZ))]  # fmt: skip
    assert together[0] < -0.5 < 0.5 < together[1]


def test_in_a_central_apnea_effort_stops_and_in_a_mixed_one_it_comes_back(child, asleep):
    central = breathing(child, asleep, [Failure(*SPAN, "central", 0.0)])[0]["effort"]
    mixed = breathing(child, asleep, [Failure(*SPAN, "mixed", 0.0)])[0]["effort"]
    first, last = (slice(int(a * BREATH_HZ), int(b * BREATH_HZ)) for a, b in ((304, 309), (316, 322)))
    assert central[first].max() < 0.1 and central[last].max() < 0.1
    assert mixed[first].max() < 0.2 and mixed[last].min() > 0.5


def test_oxygen_falls_after_the_event_by_the_delay_of_the_blood(child, asleep):
    lags = []
    for delay in (8.0, 14.0):
        own = replace(child, delay_s=delay)
        spo2 = breathing(own, asleep, [Failure(*SPAN, "obstructive", 0.0)])[1]["SPO2"]
        depth, lag = oxygen_around(spo2, *SPAN)
        assert depth > 3 and lag > 5
        lags.append(lag)
    assert lags[1] - lags[0] == pytest.approx(6, abs=3)


def test_nobody_snores_through_a_closed_airway(child, asleep):
    own = replace(child, snores=2.0)
    _, signals = breathing(own, asleep, [Failure(*SPAN, "obstructive", 0.0)])
    assert size(signals["SNORE"], 304, 321) < 0.2 * size(signals["SNORE"], 240, 290)


def scored(child, asleep, failures, arousals=(), seed=3):
    """Give what a careful scorer scores of breathing."""
    _, signals = breathing(child, asleep, failures, seed)
    rng = np.random.default_rng(seed)
    falls = score_oxygen(signals["SPO2"], asleep.stage, CAREFUL, rng)
    events = score_breathing(signals, child.breaths_min, asleep.stage, falls, list(arousals), CAREFUL, rng)
    return events, falls, signals


@pytest.mark.parametrize("kind", ["obstructive", "central", "mixed"])
def test_a_scorer_finds_an_apnea_in_the_signals_and_tells_its_kind(kind, child, asleep):
    events, falls, _ = scored(child, asleep, [Failure(*SPAN, kind, 0.0)])
    near = [event for event in events if abs(event.onset_s - SPAN[0]) < 8]
    assert [event.name for event in near] == [f"apnea_{kind}"]
    assert near[0].duration_s == pytest.approx(SPAN[1], abs=8)
    assert any(SPAN[0] < fall.onset_s < SPAN[0] + 40 for fall in falls)


def test_labels_are_of_the_signals_and_not_of_their_causes(child, asleep):
    failures = [Failure(*SPAN, "obstructive", 0.0)]
    _, _, signals = scored(child, asleep, failures)
    steady, _, quiet = scored(child, asleep, [])
    rng = np.random.default_rng(3)
    swapped = {**signals, "C-FLOW": quiet["C-FLOW"], "ORAL": quiet["ORAL"]}
    blind = score_breathing(swapped, child.breaths_min, asleep.stage, [], [], CAREFUL, rng)
    assert not [one for one in [*steady, *blind] if one.name.startswith("apnea") and abs(one.onset_s - 300) < 20]


def test_a_probe_that_is_off_scores_no_desaturation(asleep):
    spo2 = np.full(MINUTES * 60, 97.0)
    spo2[200:260] = 0.0
    spo2[400:430] = 127.0
    assert score_oxygen(spo2, asleep.stage, CAREFUL, np.random.default_rng(0)) == []


def test_an_arousal_is_seen_in_the_eeg_and_its_absence_is_not(child, asleep):
    found = []
    for size_of in (3.0, 0.0):
        arousals = [Arousal(start, 8.0, size_of, True) for start in (200.0, 400.0, 600.0)]
        signals = fast_signals(child, asleep, arousals, np.zeros(len(asleep.depth)), np.random.default_rng(2))
        own = score_arousals(signals, asleep.stage, CAREFUL, np.random.default_rng(2))
        found.append(sum(any(abs(event.onset_s - a.start_s) < 5 for event in own) for a in arousals))
    assert found[0] >= 2 and found[1] == 0


@pytest.fixture(scope="module")
def some():
    """Studies of some children."""
    return [simulate_study(name, number, 1.2) for name, number in study_list(4)]


def test_the_same_arguments_make_the_same_study(some):
    again = simulate_study(some[0].child.patient, 1, 1.2)
    assert again.events == some[0].events
    assert all(np.array_equal(again.signals[name], some[0].signals[name]) for name in again.signals)


def test_a_child_that_comes_twice_is_the_same_child_on_another_night(some):
    pairs = [(a, b) for a in some for b in some if a.child.patient == b.child.patient and a.number < b.number]
    first, second = pairs[0]
    assert first.child.age == second.child.age
    assert not np.array_equal(first.stages, second.stages)


def test_a_scorer_agrees_with_the_truth_and_not_fully(some):
    truth, stages = (np.concatenate([getattr(study, name) for study in some]) for name in ("truth", "stages"))
    assert 0.75 < kappa(truth, stages) < 0.95


def test_events_have_names_that_are_known_and_lie_in_the_night(some):
    for study in some:
        for event in study.events:
            assert event.name in EVENTS and 0 <= event.onset_s < 30 * len(study.stages) and event.duration_s > 0


def test_lengths_of_failures_are_those_of_real_events():
    rng, found = np.random.default_rng(6), []
    for i in range(20):
        child = replace(draw_child(f"ill {i}"), obstruction=5.0, pauses=5.0)
        found += draw_failures(child, draw_sleep(child, 8.0, rng), rng)
    for kind, median in (("obstructive", 19), ("central", 15), ("mixed", 29)):
        closed = [failure.duration_s for failure in found if failure.kind == kind and failure.left < 0.13]
        assert np.median(closed) == pytest.approx(median, rel=0.15), kind
        assert np.std(np.log(closed)) == pytest.approx(0.3, abs=0.08), kind


def test_the_table_of_events_measures_what_is_scored(some):
    rows = {row["kind"]: row for row in event_table(some)}
    own = [event.duration_s for study in some for event in study.events if event.name.startswith("hypopnea")]
    assert rows["hypopnea"]["events"] == len(own)
    assert rows["hypopnea"]["median length, s"] == pytest.approx(float(np.median(own)))


def test_over_many_children_shares_are_near_the_published_ones():
    rng, counts, n_failures, hours = np.random.default_rng(4), np.zeros(5), 0, 0
    for i in range(40):
        child = draw_child(f"child {i}")
        sleep = draw_sleep(child, 6.0, rng)
        failures = draw_failures(child, sleep, rng)
        counts += np.bincount(sleep.stage, minlength=5)
        n_failures, hours = n_failures + len(draw_arousals(child, sleep, failures, rng)), hours + 6
    for stage, share in zip(Stage, 100 * counts / counts.sum(), strict=True):
        # the scorer takes some N1 for its neighbours, so that the truth has more of it
        assert 1 / 1.8 < share / NCH[stage.name] < 1.8, stage.name
    assert 2 < n_failures / hours < 12


def test_files_have_the_quirks_of_real_ones_and_are_read_all_the_same(tmp_path):
    study = simulate_study("10150", 1, 0.25)
    seen = {"names": set(), "units": set(), "rates": set(), "n": set()}
    for seed in range(12):
        columns = study_columns(study, np.random.default_rng(seed))
        seen["names"] |= {column.label for column in columns}
        seen["units"] |= {column.unit for column in columns}
        seen["rates"] |= {column.rate for column in columns}
        seen["n"].add(len(columns))
    assert {"EEG C3-M2", "C3-A2", "SaO2", "Heart Rate"} <= seen["names"]
    assert seen["units"] & {"mV", "V"} and {256, 1, 32} <= seen["rates"] and len(seen["n"]) > 1
    for seed in (0, 1, 5):
        columns = study_columns(study, np.random.default_rng(seed))
        path = tmp_path / f"1_{seed}.edf"
        path.write_bytes(edf_content(columns, datetime(2020, 1, 1)))
        names = {MODALITIES[number].name: epochs for number, epochs, _, _ in read_modalities(open_psg(path))}
        assert len(names) == len([column for column in columns if column.label != "Heart Rate"])
        if "EEG C3-M2" in names:
            assert np.allclose(names["EEG C3-M2"].ravel()[500:9000], study.signals["EEG C3-M2"][500:9000], atol=8)
    assert RATE == FAST_HZ


def test_annotations_come_back_from_their_file_whatever_its_habits(tmp_path):
    study = simulate_study("10150", 1, 0.25)
    path = tmp_path / "1_1.edf"
    path.write_bytes(edf_content(study_columns(study, np.random.default_rng(0)), datetime(2020, 1, 1)))
    for seed in range(12):
        (tmp_path / "1_1.tsv").write_bytes(tsv_content(study, 0.0, np.random.default_rng(seed)))
        labels = open_psg(path, tmp_path / "1_1.tsv").labels
        assert np.array_equal(labels.stage, study.stages)
        total = sum(event.duration_s for event in study.events if event.name == "arousal")
        assert labels.seconds[:, EVENTS.index("arousal")].sum() == pytest.approx(total, abs=0.1 * total + 1)


def test_commands_simulate_and_prepare_and_say_what_was_left_out(tmp_path):
    studies, out = tmp_path / "studies", tmp_path / "out"
    simulate = ["simulate", "--out", str(studies), "--patients", "1", "--hours", "0.25", "--jobs", "1"]
    made = CliRunner().invoke(mae, simulate)
    assert made.exit_code == 0 and "1 studies of 1 patients" in made.output
    before = (studies / "10031_1.edf").stat().st_mtime_ns
    CliRunner().invoke(mae, simulate)
    assert (studies / "10031_1.edf").stat().st_mtime_ns == before
    (studies / "9_9.edf").write_bytes(b"none")
    done = CliRunner().invoke(mae, ["prepare", str(studies), "--out", str(out), "--jobs", "1"])
    assert done.exit_code == 1 and "left out: 9_9: expected" in done.output and "1 studies, examples" in done.output
    assert sum(len(batch_paths(out, split)) for split in SPLITS) == 1
    nothing = CliRunner().invoke(mae, ["prepare", str(tmp_path / "nowhere"), "--out", str(out)])
    assert nothing.exit_code == 1 and "expected a folder" in nothing.output


def test_a_study_is_written_whole_under_its_patients_name(tmp_path):
    write_study(tmp_path, "10031_1", 0.25)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10031_1.edf", "10031_1.tsv"]
