"""How nights are built: the figures of a hypnogram, and the population's against those of real people."""

import numpy as np
import pytest

from dreem_case.core.agreement import kappa
from dreem_case.nights.stages import Stage
from dreem_case.simulate.hypnograms import QUANTILES, draw_sleeper, score_truth, simulation_table, sleep_course
from dreem_case.simulate.structure import compare_halves, compare_structures, sleep_structure, structure_figures
from dreem_case.simulate.tables import fit_sleep, read_scorers, rem_episodes


def scored_people(n, seed):
    """Labels of two scorers of people whose recordings are as long as those of DOD-H."""
    lengths = simulation_table()["sleep_spans"]["recording"]
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        truth = sleep_course(int(np.interp(rng.random(), QUANTILES, lengths)), rng)
        yield score_truth(truth, rng), score_truth(truth, rng)


@pytest.fixture(scope="module")
def people():
    return list(scored_people(100, seed=41))


def test_a_hypnogram_in_figures():
    found = sleep_structure(np.repeat([0, 1, 2, 0, 2, 4, -1], [10, 2, 20, 1, 9, 8, 5]))
    assert found["latency_min"] == 5 and found["waso_min"] == 0.5 and found["efficiency"] == 39 / 50
    assert found["rem_latency_min"] == 16 and found["bouts_per_hour"] == pytest.approx(6 / 25 * 60)
    assert found["mean_bout_min.N2"] == 7.25 and found["longest_bout_min.N2"] == 10
    assert found["one_epoch_bouts"] == pytest.approx(1 / 6)
    assert found["N1 to N2"] == 0.5 and np.isnan(found["DEEP to N2"])


def test_a_night_without_sleep_has_no_structure():
    with pytest.raises(ValueError, match="with sleep, found 3 epochs without"):
        sleep_structure([0, 0, 0])


def test_the_same_nights_resemble_each_other_fully(people):
    nights = [sleep_structure(first) for first, _ in people]
    figures = structure_figures(compare_structures(nights, nights))
    assert figures == {f"structure.{name}": 1.0 for name in ("overlap_mean", "spread_min", "spread_max")}


def test_halves_of_alike_people_resemble_each_other_and_of_few_people_do_not(people):
    nights = [sleep_structure(first) for first, _ in people]
    alike = compare_halves([nights] * 4, n_splits=3)
    assert alike == {f"structure.{name}": 1.0 for name in ("overlap_mean", "spread_min", "spread_max")}
    few, many = compare_halves([[night] for night in nights[:12]]), compare_halves([[night] for night in nights])
    assert few["structure.overlap_mean"] < many["structure.overlap_mean"] < 1
    assert few["structure.spread_min"] < many["structure.spread_min"] < 1 < many["structure.spread_max"]
    assert few == compare_halves([[night] for night in nights[:12]])
    with pytest.raises(ValueError, match="expected 4 people at least, found 3"):
        compare_halves([[night] for night in nights[:3]])


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="found 0 and 0"):
        compare_structures([], [])


def test_scorers_keep_the_rules_of_scoring(people):
    for pair in people:
        for labels in pair:
            asleep = np.flatnonzero(labels != Stage.WAKE)
            assert labels[asleep[0]] != Stage.REM
            assert not np.any((labels[:-1] == Stage.WAKE) & (labels[1:] == Stage.DEEP))


def test_rem_never_comes_as_early_as_no_scorer_would_write(people):
    latencies = [sleep_structure(first)["rem_latency_min"] for first, _ in people]
    assert np.nanmin(latencies) > 14


def test_bad_sleepers_differ_from_good_ones():
    sleepers = [draw_sleeper(np.random.default_rng(seed)) for seed in range(200)]
    latency, waking, age, deep = np.log([
        (sleeper.latency, sleeper.to_wake, sleeper.age, sleeper.bouts[Stage.DEEP]) for sleeper in sleepers
    ]).T
    assert np.corrcoef(latency, waking)[0, 1] > 0.1
    assert np.corrcoef(age, deep)[0, 1] < -0.15


def test_a_sleeper_without_deep_has_none():
    from dataclasses import replace

    rng = np.random.default_rng(3)
    sleeper = replace(draw_sleeper(rng), to_deep=0.0)
    assert not (sleep_course(900, rng, sleeper) == Stage.DEEP).any()


@pytest.mark.parametrize("stage", [Stage.DEEP, Stage.REM])
def test_no_bout_lasts_longer_than_the_longest_of_the_table(stage):
    rng = np.random.default_rng(11)
    longest = np.nanmax([sleep_structure(sleep_course(960, rng))[f"longest_bout_min.{stage.name}"] for _ in range(60)])
    assert 0 < longest <= simulation_table()["sleepers"]["longest"][stage] / 2


def test_experts_of_one_night_differ_in_care():
    rng = np.random.default_rng(12)
    truth = sleep_course(960, rng)
    bouts = [sleep_structure(score_truth(truth, rng))["bouts_per_hour"] for _ in range(12)]
    alike = simulation_table()["scorers"] | {"care": 0.0, "habit": [0.0] * 5, "lasting": [0.3, 0.3]}
    of_alike = [sleep_structure(score_truth(truth, rng, scorers=alike))["bouts_per_hour"] for _ in range(12)]
    assert np.std(bouts) > 1.5 * np.std(of_alike)


def test_episodes_of_rem_bridge_short_gaps_only():
    stages = np.repeat([2, 4, 2, 4, 2, 4], [10, 5, 29, 5, 30, 5])
    assert rem_episodes(stages) == [(10, 49), (79, 84)]
    assert rem_episodes(np.zeros(5, int)) == []


def test_the_population_varies_as_real_people_do(real_data, people):
    scored = read_scorers(real_data / "dod_hypnograms" / "dodh.json")
    real = [sleep_structure(labels) for night in scored for labels in night]
    compared = compare_structures(real, [sleep_structure(first) for first, _ in people])
    assert structure_figures(compared)["structure.overlap_mean"] > 0.85
    for name in ("latency_min", "waso_min", "efficiency", "bouts_per_hour", "rem_latency_min", "one_epoch_bouts"):
        assert compared[name].overlap > 0.65 and 0.6 < compared[name].spread < 1.55, (name, compared[name])
    agreement = np.mean([kappa(*pair) for pair in people])
    assert 0.65 < agreement < 0.78


def test_the_committed_statistics_are_those_of_the_scorers(real_data):
    nights = [labels for night in read_scorers(real_data / "dod_hypnograms" / "dodh.json") for labels in night]
    fitted, table = fit_sleep(nights), simulation_table()
    assert {name: table[name] for name in fitted} == fitted
