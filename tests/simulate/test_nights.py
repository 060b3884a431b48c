"Rules that simulated nights keep: what is in them, and that they are the same for the same seed."

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import welch

from dreem_case.core.agreement import kappa
from dreem_case.nights.casefile import read_night
from dreem_case.nights.stages import EPOCH_S, UNSCORED, Stage
from dreem_case.simulate import eeg as simulated_eeg
from dreem_case.simulate import headband as simulated_headband
from dreem_case.simulate import hypnograms as sleep_process
from dreem_case.simulate import nights as simulate
from dreem_case.simulate.hypnograms import DEFAULT_PLANS, NightPlan
from dreem_case.simulate.people import Person, personal_table

CASE_RECORD_STARTS = ("8e0bf011", "d8a9babd", "c5080eac", "62492470", "87748119", "9bd9224a", "8f3dc41c")
SHORT = DEFAULT_PLANS[0].scale(0.05)


@pytest.fixture(scope="module")
def night():
    return simulate.simulate_night("tested", 3, DEFAULT_PLANS[1].scale(0.15), tail_s=11.2)


@pytest.fixture(scope="module")
def pairs():
    "Hidden stages, labels and a second scorer of the seven default nights under five seeds."
    return [
        simulate.hidden_stages(plan, np.random.default_rng([seed, turn]))
        for seed in range(5) for turn, plan in enumerate(DEFAULT_PLANS)
    ]


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        simulate.write_default_nights(tmp_path / name, n_nights=1, seed=2, hours=0.1)
    assert all_bytes(tmp_path / "a") == all_bytes(tmp_path / "b")


def test_a_night_does_not_depend_on_how_many_are_made(tmp_path):
    simulate.write_default_nights(tmp_path / "one", n_nights=1, hours=0.1)
    simulate.write_default_nights(tmp_path / "two", n_nights=2, hours=0.1)
    one, two = all_bytes(tmp_path / "one"), all_bytes(tmp_path / "two")
    assert all(two[name] == content for name, content in one.items() if name != "manifest.json")


def test_another_seed_gives_another_night():
    a, b = (simulate.simulate_night("same", seed, SHORT).night.signals["eeg4"].values for seed in (1, 2))
    assert not np.array_equal(a, b)


def test_records_are_never_those_of_the_case():
    records = [simulate.simulated_record(index, seed) for index in range(14) for seed in range(5)]
    assert len(set(records)) == len(records)
    assert not any(record.startswith(CASE_RECORD_STARTS) for record in records)


def test_lengths_and_label_counts_are_those_of_the_table(pairs):
    for k, (truth, labels, second) in enumerate(pairs):
        plan = DEFAULT_PLANS[k % 7]
        assert len(truth) == len(labels) == len(second) == plan.n_epochs
        assert np.all(labels[: plan.n_labels] != UNSCORED) and np.all(labels[plan.n_labels :] == UNSCORED)
        found = np.bincount(labels[: plan.n_labels], minlength=5)
        assert np.abs(found - plan.stage_counts).max() <= 0.03 * plan.n_labels


def test_two_scorers_agree_as_experts_do(pairs):
    agreement = [kappa(labels[labels >= 0], second[labels >= 0]) for _, labels, second in pairs]
    assert 0.65 < np.mean(agreement) < 0.78


def test_scorers_disagree_mostly_at_transitions_and_n1(pairs):
    disputed_there, disputed = 0, 0
    for truth, labels, second in pairs:
        scored = labels >= 0
        change = np.zeros(len(truth), bool)
        for hypnogram in (truth, labels, second):
            step = np.diff(hypnogram, prepend=hypnogram[0]) != 0
            change |= step | np.roll(step, -1) | np.roll(step, 1) | np.roll(step, -2)
        differ = scored & (labels != second)
        disputed += differ.sum()
        disputed_there += (differ & (change | (truth == Stage.N1) | (labels == Stage.N1) | (second == Stage.N1))).sum()
    assert disputed_there / disputed > 0.7


def test_scorers_confuse_what_dodh_scorers_confuse(real_data):
    path = real_data / "dod_hypnograms" / "dodh.json"
    from dreem_case.simulate.tables import confusions

    scored = [[np.array(labels) for labels in night.values()] for night in json.loads(path.read_text()).values()]
    real = confusions([(a, b) for night in scored for k, a in enumerate(night) for b in night[:k]])
    counts, simulated = tuple(np.round(real.sum(axis=1) * 960).astype(int)), []
    for seed in range(60):
        rng = np.random.default_rng([7, seed])
        truth = sleep_process.sleep_truth(counts, rng)
        simulated.append((sleep_process.score_truth(truth, rng), sleep_process.score_truth(truth, rng)))
    by_row = [table / table.sum(axis=1, keepdims=True) for table in (real, confusions(simulated))]
    assert np.abs(by_row[0] - by_row[1]).max() < 0.08


def test_a_night_is_as_long_as_asked(monkeypatch):
    monkeypatch.setattr(simulate, "simulate_night", lambda record, seed, plan, *rest: plan)
    lengths = {hours: simulate.default_night(3, hours=hours).n_epochs for hours in (0.5, 8, 12)}
    assert all(abs(n_epochs - hours * 3600 / EPOCH_S) <= 3 for hours, n_epochs in lengths.items())


def test_the_hidden_stages_have_exactly_the_counts_asked_for():
    counts = (11, 7, 60, 30, 25)
    truth = sleep_process.sleep_truth(counts, np.random.default_rng(4))
    assert tuple(np.bincount(truth, minlength=5)) == counts


@pytest.mark.parametrize("counts", [(1, 1, 1, 1, 1), (0, 0, 5, 0, 0), (3, 0, 2, 0, 0)])
def test_a_very_short_night_can_be_drawn(counts):
    truth = sleep_process.sleep_truth(counts, np.random.default_rng(0))
    assert tuple(np.bincount(truth, minlength=5)) == counts


@pytest.mark.parametrize("plan", [(10, (3, 3, 3, 3, 3)), (10, (1, 2, 3)), (10, (-1, 2, 3, 1, 1)), (10, (0,) * 5)])
def test_a_plan_that_cannot_be_is_refused(plan):
    with pytest.raises(ValueError, match="night plan: expected"):
        NightPlan(*plan)


def test_the_file_reads_back_through_the_case_reader(tmp_path):
    (record,) = simulate.write_default_nights(tmp_path, n_nights=1, hours=0.1)
    night = read_night(tmp_path / "h5" / f"{record}.h5", tmp_path / "hypnograms" / f"{record}.json")
    truth = json.loads((tmp_path / "truth" / f"{record}.json").read_text())
    assert night.n_epochs == len(truth["truth"]) == len(truth["second_scorer"])
    assert json.loads((tmp_path / "manifest.json").read_text())["source"] == "simulated nights, seed 1"


def test_a_last_epoch_can_be_incomplete(night):
    signal = night.night.signals["eeg1"]
    assert len(signal.values) == night.night.n_epochs * EPOCH_S * 250 + 2800
    assert len(night.night.signals["accelerometer_x"].values) == night.night.n_epochs * EPOCH_S * 50 + 560
    with pytest.raises(ValueError, match="expected a tail of 0 to 30 s, found 30"):
        simulate.simulate_night("tail", 1, SHORT, tail_s=30)


def test_derivations_are_differences_of_five_electrodes(night):
    eeg1, eeg5, eeg7 = (night.night.signals[name].values.astype(float) for name in ("eeg1", "eeg5", "eeg7"))
    inside = np.max(np.abs([eeg1, eeg5, eeg7]), axis=0) < 2e6
    assert inside.mean() > 0.99
    assert np.abs((eeg7 + eeg1 - eeg5)[inside]).max() < 0.5  # (Fpz-F7) + (F7-O1) = Fpz-O1


def test_a_loose_electrode_takes_down_exactly_its_derivations():
    loose = [simulated_headband.LooseSpan("Fpz", 300, 600)]
    made = simulate.simulate_night("loose", 1, SHORT, loose)
    down = {
        name for name in made.night.eeg_names
        if np.all(np.abs(made.night.signals[name].values[300 * 250 : 600 * 250] + 2.4e6) < 1e5)
    }
    assert down == {"eeg3", "eeg5", "eeg6", "eeg7"}


def test_the_raw_eeg_has_offsets_pops_and_hum(night):
    values = night.night.signals["eeg2"].values
    assert np.abs(np.median(values)) > 300
    assert 1e5 < np.abs(values).max() <= 4e6
    f_hz, power = welch(values.astype(float), 250, nperseg=2500, average="median")  # which no movement moves
    hum, beside = power[np.abs(f_hz - 50) < 0.2].max(), np.median(power[np.abs(f_hz - 53) < 1])
    assert hum > 10 * beside


def test_the_accelerometer_is_in_g_and_stands_still_between_turns(night):
    axes = np.stack([night.night.signals[f"accelerometer_{axis}"].values for axis in "xyz"])
    assert np.abs(axes).max() <= 1.2
    assert abs(np.median(np.linalg.norm(axes, axis=0)) - 1) < 0.02
    assert np.median(np.abs(np.diff(axes, axis=1))) < 0.01


def test_movements_shake_eeg_and_accelerometer_together():
    truth = np.full(40, Stage.N2, np.int8)
    movements = np.zeros(400)
    movements[100:110] = 60
    rng = np.random.default_rng(0)
    potentials = simulate.electrode_potentials(truth, movements, rng)
    axes = simulated_headband.accelerometer(truth, movements, rng)
    eeg_s = (potentials[0] - potentials[3]).reshape(-1, 750).std(axis=1)
    axis_s = np.abs(np.diff(axes[0].reshape(-1, 150), axis=1)).mean(axis=1)
    assert eeg_s[101:109].min() > 3 * np.median(eeg_s)
    assert axis_s[101:109].min() > 3 * np.median(axis_s)


def test_waking_up_comes_with_a_movement():
    truth = np.repeat(np.array([2, 0, 2, 0, 4, 0, 3], np.int8), 10)
    movements = simulated_headband.draw_movements(truth, np.random.default_rng(0)).reshape(-1, 10)
    assert all(movements[epoch].max() > 0 for epoch in (10, 30, 50))


def test_a_blink_is_largest_in_the_middle_of_the_forehead_and_eye_movements_oppose():
    kinds = simulated_eeg.EVENT_KINDS
    blink, turn = kinds["blink"].electrodes, kinds["rapid_eye_movement"].electrodes
    assert blink[2] > blink[0] > blink[3] and turn[0] < 0 < turn[1]


def test_alpha_lies_at_the_heads_own_frequency():
    def low_to_high(alpha_hz):
        own = personal_table(Person(alpha_hz=alpha_hz))
        truth = np.zeros(40, np.int8)
        o1 = simulate.electrode_potentials(truth, np.zeros(400), np.random.default_rng(0), own)[3]
        f_hz, power = welch(o1, 250, nperseg=1000)
        return power[np.abs(f_hz - 8) < 0.5].mean() / power[np.abs(f_hz - 11) < 0.5].mean()

    assert low_to_high(8.0) > 4 * low_to_high(11.0)


def test_movement_noise_is_flat_below_its_knee_and_steep_above():
    truth, movements, rng = np.zeros(40, np.int8), np.full(400, 60.0), np.random.default_rng(0)
    density = next(simulated_headband.disturbance_of(truth, movements, rng)(slice(0, 400), rng))
    half, one, ten, twenty = 10 * np.log10(np.median(density, axis=0)[[3, 6, 60, 120]])  # bins of 1/6 Hz
    assert 0 < half - one < 1.5 and abs(ten - twenty - 9) < 1 and abs(one - ten - 23.6) < 1


def test_spindles_are_in_n2_and_slow_waves_in_deep():
    truth, rng = np.repeat(np.array([0, 2, 3, 4], np.int8), 50), np.random.default_rng(0)
    spindles, waves = (simulated_eeg.event_rates(name, truth, rng) for name in ("spindle", "slow_wave"))
    assert spindles[truth == Stage.N2].min() > 3 * spindles[truth == Stage.REM].max()
    assert waves[truth == Stage.DEEP].mean() > 5 * waves[truth == Stage.N2].mean()


def test_the_table_names_a_source_for_every_number():
    table = sleep_process.simulation_table()
    assert set(table) == {"sources", *table["sources"]}
