"""People, their amplifiers and their recordings: the same for the same seed, unlike each other, and as asked for."""

from dataclasses import replace

import numpy as np
import pytest

from dreem_case.nights.stages import Stage
from dreem_case.simulate.hypnograms import draw_sleeper, simulation_table
from dreem_case.simulate.nights import record_signals
from dreem_case.simulate.people import ACCELEROMETERS, GAIN_RANGE, USUAL, Person, draw_person, personal_table
from dreem_case.simulate.population import KINDS, POPULATION, population_night, recording_course

TRUTH = np.repeat(np.array([0, 1, 2, 3, 4], np.int8), 4)


def signals_of(person):
    return record_signals(TRUTH, np.random.default_rng(5), person=person)


def test_a_person_at_a_place_is_the_same_again_and_others_are_not():
    one, again, other = (population_night(index, 3, "cut", Person(accelerometer="absent")) for index in (1, 1, 2))
    assert np.array_equal(one.night.hypnogram, again.night.hypnogram)
    assert np.array_equal(one.night.signals["eeg1"].values, again.night.signals["eeg1"].values)
    assert one.night.n_epochs != other.night.n_epochs or not np.array_equal(one.truth, other.truth)


def test_a_gain_multiplies_the_signals_and_nothing_else():
    usual, louder = signals_of(USUAL), signals_of(replace(USUAL, gain=4.0))
    for name, signal in usual.items():
        factor = 4 if name.startswith("eeg") else 1
        np.testing.assert_allclose(louder[name].values, factor * signal.values, rtol=1e-5, atol=1e-3)


def test_an_ac_coupled_front_end_has_no_offsets():
    dc, ac = (signals_of(replace(USUAL, ac_coupled=coupled))["eeg1"].values for coupled in (False, True))
    assert abs(np.median(ac)) < 20 < abs(np.median(dc))
    assert np.abs(ac).max() < np.abs(dc).max()


@pytest.mark.parametrize("kind", ACCELEROMETERS)
def test_an_accelerometer_is_as_good_as_it_is(kind):
    signals = signals_of(replace(USUAL, accelerometer=kind))
    axes = [signal.values for name, signal in signals.items() if name.startswith("accelerometer")]
    assert len(axes) == (0 if kind == "absent" else 3)
    spread = [float(np.median(np.abs(np.diff(axis)))) for axis in axes]
    assert all({"still": value < 0.002, "noisy": value > 0.01}.get(kind, True) for value in spread)


def test_the_usual_person_has_the_numbers_of_the_table():
    assert personal_table(USUAL) is simulation_table()


def test_people_differ_within_the_range_of_gains():
    people = [draw_person(np.random.default_rng(seed), 40) for seed in range(200)]
    gains = np.array([person.gain for person in people])
    assert GAIN_RANGE[0] <= gains.min() < 0.4 and 2.5 < gains.max() <= GAIN_RANGE[1]
    assert {person.accelerometer for person in people} == set(ACCELEROMETERS)
    assert {person.ac_coupled for person in people} == {False, True}


def test_old_people_have_smaller_slow_waves():
    young, old = (np.mean([draw_person(np.random.default_rng(s), age).delta_db for s in range(50)]) for age in (20, 75))
    assert young - old > 3


@pytest.mark.parametrize(("kind", "low", "high"), [("wake90", 0.88, 0.99), ("no_sleep", 1, 1), ("day24", 0.66, 0.95)])
def test_a_kind_has_the_wake_that_its_name_says(kind, low, high):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        awake = (recording_course(kind, draw_sleeper(rng), rng) == Stage.WAKE).mean()
        assert low <= awake <= high


def test_every_kind_can_be_drawn_and_another_is_refused():
    rng = np.random.default_rng(0)
    lengths = {kind: len(recording_course(kind, draw_sleeper(rng), rng)) for kind in KINDS}
    assert 40 <= lengths["cut"] <= 360 and lengths["day24"] == 2880
    assert set(POPULATION) <= set(KINDS)
    with pytest.raises(ValueError, match="expected one of night, cut"):
        recording_course("holiday", draw_sleeper(rng), rng)
