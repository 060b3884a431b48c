"""Rules of matching: no gain matters, no mix of stages matters much, and little evidence moves little."""

from dataclasses import replace

import numpy as np
import pytest

from dreem_case.staging.design_matrix import RowMaker, table_from_matrix
from dreem_case.staging.matching import (
    NIGHT_EPOCHS,
    Matching,
    _night,
    fuse,
    gain_exponents,
    matching_of,
    matching_state,
    night_span,
)

NAMES = ("log_slow", "log_amplitude", "shape_a", "shape_b", "shape_c")
MEANS = np.array([[0, 0, 0, 1, 2], [0, 0, 0, 2, 0], [2, 1, 1, 0, -1], [4, 2, 2, -1, -2], [0, 0, 0, -2, 1]], float)
USUAL_MIX = (0.1, 0.1, 0.4, 0.2, 0.2)


def recording(n, mix, seed, gain=1.0, offset=0.0):
    """Make epochs in bouts of a mix of stages, of a sleeper with an offset and an amplifier with a gain."""
    random = np.random.default_rng(seed)
    stages = np.repeat(random.choice(5, -(-n // 10), p=mix), 10)[:n].astype(np.int8)
    values = MEANS[stages] + random.normal(0, 0.2, (n, 5)) + offset * np.array([0, 0, 1, -1, 1])
    values += np.log10(gain) * gain_exponents(NAMES)
    return table_from_matrix(f"{seed}", values, NAMES), stages


@pytest.fixture(scope="module")
def matching():
    random = np.random.default_rng(0)
    gains, offsets = 10 ** random.uniform(-0.7, 0.7, 12), random.normal(0, 0.3, 12)
    made = [recording(800, USUAL_MIX, seed, gains[seed], offsets[seed]) for seed in range(12)]
    return Matching.fit(*zip(*made, strict=True))


def gain_of(matching, night):
    return matching.gain(night.eeg[0].astype(float), night.weights[0], gain_exponents(NAMES))


@pytest.mark.parametrize("gain", [0.2, 0.5, 2, 5])
def test_rows_are_the_same_at_any_gain(matching, gain):
    night, stages = recording(40, USUAL_MIX, 50)
    maker = RowMaker.fit([night], [stages])
    maker = replace(maker, matching=matching)
    louder = replace(night, eeg=(night.eeg + np.log10(gain) * gain_exponents(NAMES)).astype(np.float32))
    np.testing.assert_allclose(maker(louder), maker(night), atol=1e-3)


@pytest.mark.parametrize("n", [40, 2000])
@pytest.mark.parametrize("mix", [(1, 0, 0, 0, 0), (0.9, 0, 0.1, 0, 0), (0, 0, 0.5, 0.5, 0), (0, 0, 0, 0, 1)])
def test_neither_length_nor_mix_of_stages_moves_the_gain(matching, mix, n):
    usual = gain_of(matching, recording(2000, USUAL_MIX, 60)[0])
    assert abs(gain_of(matching, recording(n, mix, 61)[0]) - usual) < 0.25  # a factor of 1.8; gains differ by 25


def matched_means(matching, night, stages):
    found = matching.match(night)[1][0]
    return {stage: found[stages == stage].mean(axis=0) for stage in np.unique(stages)}


def test_a_sleeper_with_an_offset_looks_like_the_population_whatever_the_mix(matching):
    for mix in (USUAL_MIX, (0.8, 0.02, 0.08, 0.05, 0.05)):
        means = matched_means(matching, *recording(2000, mix, 70, offset=0.8))
        for stage, mean in means.items():
            assert np.abs(mean - matching.means[stage])[2:].max() < 0.6, (mix, stage)


def test_the_longer_the_recording_the_bolder(matching):
    def moved(n):
        night, _ = recording(n, (0, 0, 1, 0, 0), 80, offset=0.8)
        return matching.offsets(night).mean()

    assert moved(20) < moved(60) < moved(1000)


def test_a_recording_without_a_usable_epoch_has_no_gain_and_no_offset(matching):
    night, _ = recording(40, USUAL_MIX, 90)
    lost = replace(night, weights=np.zeros_like(night.weights))
    assert gain_of(matching, lost) == 0
    assert np.isnan(matching.offsets(lost)).all()


def test_scales_are_percentiles_and_slopes_are_a_ridge_regression_within_channels():
    made = [recording(800, USUAL_MIX, seed, 1 + seed, seed / 10) for seed in range(4)]
    fitted = Matching.fit(*zip(*made, strict=True))
    channels = [night.eeg[0].astype(float) for night, _ in made]
    low, middle, high = np.percentile(np.concatenate(channels)[:, 2:], [5, 50, 95], axis=0)
    spread = (high - low) / 3.2898  # of 90 % of a normal distribution, to one standard deviation
    assert fitted.shape_centre == pytest.approx(middle, rel=1e-4)
    assert fitted.shape_spread == pytest.approx(spread, rel=1e-4)
    exponents = gain_exponents(NAMES)[:2]
    both = [np.cov(((v[:, 2:] - middle) / spread).T, (v[:, :2] / exponents).mean(axis=1), bias=True) for v in channels]
    mean = np.mean(both, axis=0)
    expected = np.linalg.solve(mean[:3, :3] + 0.05 * np.eye(3), mean[:3, 3])
    assert fitted.slopes == pytest.approx(expected, rel=1e-3)


def test_a_shape_that_no_brain_has_moves_the_gain_no_further_than_an_unusual_one(matching):
    values = recording(100, USUAL_MIX, 91)[0].eeg[0].astype(float)
    odd, mad = (np.array([0, 0, *(matching.shape_spread * times)]) for times in (100, 10_000))
    gains = [matching.gain(values + more, np.ones(100), gain_exponents(NAMES)) for more in (odd, mad)]
    assert gains[0] == gains[1]


# The night in a long recording


@pytest.mark.parametrize("start", [0, 1, 500, 900])
def test_the_night_is_where_sleep_is_and_where_sleep_says_nothing_where_states_change(start):
    inside = np.zeros(900 + NIGHT_EPOCHS)
    inside[start : start + NIGHT_EPOCHS] = 1
    assert night_span(inside) == slice(start, start + NIGHT_EPOCHS)
    changing = (inside * np.tile([-1, 1], len(inside) // 2))[:, None]
    assert night_span(np.zeros(len(inside)), changing) == slice(start, start + NIGHT_EPOCHS)
    assert night_span(inside[:NIGHT_EPOCHS], changing[:NIGHT_EPOCHS]) == slice(None)


@pytest.mark.parametrize("seed", [92, 94, 95])
def test_the_night_of_a_day_is_found_though_hours_of_the_evening_are_lost(matching, seed):
    awake, asleep = (1, 0, 0, 0, 0), (0, 0.1, 0.45, 0.25, 0.2)
    parts = [recording(n, mix, seed, offset=0.3)[0] for n, mix in ((700, awake), (960, asleep), (900, awake))]
    day = table_from_matrix("day", np.concatenate([part.eeg[0] for part in parts]), NAMES)
    lost = replace(day, weights=np.where(np.arange(2560) < 400, 0, day.weights).astype(np.float32))
    whole, late = (_night(matching, *fuse(matching.on_scale(night), night.weights)) for night in (day, lost))
    assert abs(whole.start - 700) < 260  # most of the night lies inside
    assert abs(late.start - whole.start) < 20


def test_what_a_file_holds_is_what_was_fitted(matching):
    state = matching_state(matching)
    again = matching_of(state, 5, 3)
    assert matching_state(again) == state
    for name, values in vars(matching).items():
        assert np.array_equal(getattr(again, name), values)


@pytest.mark.parametrize("damage", [
    {"spread": [0.0] * 5}, {"centre": [float("nan")] * 5}, {"means": [[1.0] * 5]}, {"precision": "x"}, {"slopes": []},
])
def test_arrays_that_no_fit_gives_are_refused(matching, damage):
    with pytest.raises((ValueError, TypeError)):
        matching_of(matching_state(matching) | damage, 5, 3)
