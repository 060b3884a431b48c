"""What holds for every feature, and what single ones must show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from dreem_case.nights.night import Night, Signal
from dreem_case.staging import features
from dreem_case.staging.clean import FS_HZ, Cleaned, Mark, Quality, band_pass, clean_eeg, epoch_quality
from dreem_case.staging.features import (
    ACCELEROMETER_FEATURES,
    BANDS_HZ,
    BIN_CENTRES_HZ,
    SKIPPABLE,
    NightFeatures,
    by_channel,
    channel_state,
    eeg_features,
    night_features,
    spectral_bins,
    window_power,
)
from tests.staging.test_clean import noise_like_eeg

RAW_FS_HZ = 250


def cleaned_noise(n_epochs=4, seed=0, rms_uv=25.0):
    return clean_eeg(noise_like_eeg(30 * n_epochs, rms_uv=rms_uv, seed=seed), RAW_FS_HZ)


def night_of(values_by_name, n_epochs, axes=None):
    signals = {name: Signal(values, RAW_FS_HZ, "µV", "eeg") for name, values in values_by_name.items()}
    if axes is not None:
        signals |= {f"accelerometer_{axis}": Signal(values, 50, "g", "accelerometer")
                    for axis, values in zip("xyz", axes, strict=False)}
    return Night("test", signals, n_epochs)


# What is said of channels


def test_a_channel_is_said_to_be_what_it_is_in_a_hundredth_of_the_epochs_or_more():
    quality = np.repeat([Quality.GOOD, Quality.FLAT, Quality.OFF, Quality.NOISY], [145, 2, 51, 2])
    said = "flat in 1 %, railed or without values in 25 %, noisy in 1 %".replace("%", "% of the epochs")
    assert channel_state(quality) == said
    assert channel_state(quality[:146]) == "nothing odd"
    assert channel_state(np.repeat([Quality.GOOD, Quality.FLAT], [71, 29])) == "flat in 29 % of the epochs"


def test_of_channels_one_sentence_says_the_same_and_amplitudes_where_all_are_known():
    names, about = ("a", "b", "c", "d"), ("odd", "flat", "odd", "")
    assert by_channel(names, about, (2.0, np.nan, 30.0, 9.0)) == ["a, c odd (usual amplitude 2 to 30 µV)", "b flat"]
    assert by_channel(names[:3], about[:3], (np.nan, 5.0, 1.0)) == ["a, c odd", "b flat (usual amplitude 5 µV)"]


# Every feature


def test_features_are_finite_and_named_once():
    table = eeg_features(cleaned_noise())
    assert all(values.shape == (4,) and values.dtype == np.float32 for values in table.values())
    assert all(np.isfinite(values).all() for values in table.values())
    assert 35 <= len(table) <= 70


@pytest.mark.parametrize("gain", [-1, 0.5, 2, -1.7])
def test_a_gain_changes_no_ratio_and_shifts_every_log(gain):
    cleaned = cleaned_noise()
    first = eeg_features(cleaned)
    second = eeg_features(Cleaned(cleaned.values * np.float32(gain), cleaned.marks))
    for name in first:
        power = name.startswith("log_") and name not in ("log_amplitude", "log_slow_amplitude", "log_rise")
        shift = np.log10(abs(gain)) * (2 if power else name.startswith("log_"))
        np.testing.assert_allclose(second[name] - first[name], shift, atol=0.02, err_msg=name)
    told = eeg_features(Cleaned(cleaned.values * np.float32(gain), cleaned.marks, abs(gain)))  # once the gain is known
    for name in told:
        np.testing.assert_allclose(told[name], second[name], atol=0.02, err_msg=name)


def test_a_dead_epoch_gives_numbers_and_no_warning():
    values = cleaned_noise().values.copy()
    values[:3000] = 0
    table = eeg_features(Cleaned(values, np.zeros(1200, dtype=np.int8)))
    assert all(np.isfinite(values).all() for values in table.values())


def test_bridged_samples_do_not_count():
    cleaned = cleaned_noise(2)
    marks = cleaned.marks.copy()
    marks[100:130] = Mark.JUMP
    polluted = cleaned.values.copy()
    polluted[1000:1300] = 300 * np.random.default_rng(0).normal(size=300)
    first = eeg_features(Cleaned(cleaned.values, marks))
    second = eeg_features(Cleaned(polluted, marks))
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=1e-5, err_msg=name)
    assert first["disturbed_share"][0] == pytest.approx(0.1)


def test_a_partly_bridged_epoch_is_described_by_its_good_part():
    whole = cleaned_noise(40, seed=3)
    marks = whole.marks.copy().reshape(40, 300)
    marks[:, 100:160] = Mark.SWING
    full, part = eeg_features(whole), eeg_features(Cleaned(whole.values, marks.ravel()))
    for name in set(full) - {"disturbed_share"}:
        shift = np.mean(part[name] - full[name])
        assert abs(shift) < 0.6 * np.std(full[name]) + 0.005, name


def test_an_epoch_without_a_good_second_is_nan_in_every_feature():
    cleaned = cleaned_noise(2)
    marks = cleaned.marks.copy()
    marks[:300] = Mark.RAIL
    for name, values in eeg_features(Cleaned(cleaned.values, marks)).items():
        assert np.isnan(values[0]) and np.isfinite(values[1]), name


# Spectra


@pytest.mark.parametrize("tone_hz", [0.75, 1, 3, 6, 9.5, 12, 14.5, 20, 28])
def test_a_tone_is_strongest_in_its_own_band(tone_hz):
    t = np.arange(60 * FS_HZ) / FS_HZ
    tone = 50 * np.sin(2 * np.pi * tone_hz * t).astype(np.float32)
    table = eeg_features(Cleaned(tone + cleaned_noise(2, rms_uv=5).values, np.zeros(600, dtype=np.int8)))
    band = next(name for name, (low, high) in BANDS_HZ.items() if low <= tone_hz < high)
    assert max(BANDS_HZ, key=lambda name: table[f"log_{name}"][0]) == band
    assert table[f"log_{band}"][0] == pytest.approx(np.log10(50**2 / 2), abs=0.25)
    assert abs(table["edge_50_hz"][0] - tone_hz) <= 0.5


@given(scale=st.floats(1, 100), seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_power_over_all_frequencies_is_the_variance_of_a_signal_without_faster_ones(scale, seed):
    noise = band_pass(np.random.default_rng(seed).normal(0, scale, 90 * 50), 50).reshape(3, 3000)
    power = window_power(noise).mean(axis=2).sum(axis=0) / features.WINDOW_S
    np.testing.assert_allclose(power, noise.var(axis=1), rtol=0.15)


def test_slope_is_that_of_the_noise():
    n, random = 120 * FS_HZ, np.random.default_rng(0)
    freqs_hz = np.maximum(np.fft.rfftfreq(n, 1 / FS_HZ), 0.2)
    for exponent in (1.0, 2.0):  # of power
        phases = np.exp(2j * np.pi * random.random(freqs_hz.size))
        noise = np.fft.irfft(freqs_hz ** (-exponent / 2) * phases, n)
        values = (20 * noise / noise.std()).astype(np.float32)
        table = eeg_features(Cleaned(values, np.zeros(1200, dtype=np.int8)))
        np.testing.assert_allclose(table["slope"], -exponent, atol=0.15)


def test_entropy_is_one_for_white_noise_and_low_for_a_tone():
    t = np.arange(30 * FS_HZ) / FS_HZ
    marks = np.zeros(300, dtype=np.int8)
    white = np.random.default_rng(0).normal(0, 20, t.size).astype(np.float32)
    assert eeg_features(Cleaned(white, marks))["entropy"][0] > 0.95
    assert eeg_features(Cleaned(20 * np.sin(20 * np.pi * t).astype(np.float32), marks))["entropy"][0] < 0.4


@pytest.mark.parametrize("tone_hz", range(1, 19))
def test_each_bin_holds_the_tone_at_its_centre(tone_hz):
    t = np.arange(60 * FS_HZ) / FS_HZ
    bins = spectral_bins(10 * np.sin(2 * np.pi * tone_hz * t), FS_HZ)
    assert bins.shape == (2, 18) and bins.dtype == np.float32
    assert (BIN_CENTRES_HZ[bins.argmax(axis=1)] == tone_hz).all()
    np.testing.assert_allclose(bins.max(axis=1), 10 * np.log10(50), atol=0.1)


def test_bins_of_white_noise_are_level_at_its_density():
    noise = np.random.default_rng(0).normal(0, 10, 3000 * 250)
    np.testing.assert_allclose(spectral_bins(noise, 250).mean(axis=0), 10 * np.log10(100 / 125), atol=0.5)


def test_bins_of_an_epoch_do_not_see_bridged_seconds():
    cleaned = cleaned_noise(2)
    polluted = cleaned.values.copy()
    polluted[1000:1300] = 5000
    bridged = np.zeros(len(polluted), dtype=bool)
    bridged[1000:1300] = True
    np.testing.assert_allclose(
        spectral_bins(polluted, bridged=bridged), spectral_bins(cleaned.values, bridged=bridged), atol=1e-3)
    bridged[:3000] = True
    assert np.isnan(spectral_bins(polluted, bridged=bridged)[0]).all()


# Events


def with_events(event, times_s, n_epochs=2):
    values = cleaned_noise(n_epochs, rms_uv=12).values.copy()
    for start_s in times_s:
        start = round(start_s * FS_HZ)
        values[start : start + len(event)] += event.astype(np.float32)
    return eeg_features(Cleaned(values, np.zeros(300 * n_epochs, dtype=np.int8)))


def test_one_spindle_lifts_the_strongest_window_above_the_median():
    t = np.arange(100) / FS_HZ
    table = with_events(15 * np.hanning(100) * np.sin(2 * np.pi * 13 * t), [10])
    assert table["spindle_top"][0] > table["spindle_top"][1] + 0.4


def test_a_burst_of_everything_is_no_spindle():
    table = with_events(40 * np.hanning(100) * np.random.default_rng(0).normal(size=100), [10])
    assert table["spindle_top"][0] < 0.8


def test_slow_waves_lift_delta_and_eye_movements_lift_the_steepest_rise():
    wave = 60 * np.sin(2 * np.pi * np.arange(100) / 100)
    deep = with_events(wave, range(1, 28))
    eyes = with_events(np.concatenate([np.linspace(0, 90, 10), np.linspace(90, 0, 90)]), [5, 21])
    assert deep["relative_slow"][0] > deep["relative_slow"][1] + 0.2
    assert deep["log_slow_amplitude"][0] > deep["log_slow_amplitude"][1] + 0.5
    assert eyes["rise_p99"][0] > eyes["rise_p99"][1] + 0.15
    assert deep["rise_p99"][0] < eyes["rise_p99"][0]


# Accelerometer


def lying_still(n_epochs, seed=0):
    noise = np.random.default_rng(seed).normal(0, 0.002, (3, n_epochs * 1500))
    return np.array([[0.1], [0.2], [0.97]]) + noise


def test_seconds_since_and_until_a_movement_count_from_it():
    axes = lying_still(10)
    axes[:, 125 * 50 : 126 * 50] += np.linspace(0, 1, 50)
    table = dict(zip(ACCELEROMETER_FEATURES, features.accelerometer_features(axes, 50).T, strict=True))
    since, until = (10 ** table[f"log_{name}_movement_s"] - 1 for name in ("since", "until"))
    np.testing.assert_allclose(since[4:], [24 + 30 * k for k in range(6)], atol=0.1)
    np.testing.assert_allclose(until[:5], [125 - 30 * k for k in range(5)], atol=0.1)
    assert table["log_movement"].argmax() == table["moving_share"].argmax() == 4


def test_without_any_movement_the_count_stops_at_an_hour():
    table = features.accelerometer_features(lying_still(150), 50)
    assert 10 ** table[:, 3:5].max() <= 3602
    assert np.isfinite(table).all()


# A night


def test_a_night_has_every_channel_and_epoch():
    values = {name: noise_like_eeg(95, seed=seed) for seed, name in enumerate(["eeg1", "eeg2", "eeg7"])}
    found = night_features(night_of(values, 3, lying_still(4)))
    assert isinstance(found, NightFeatures) and found.record == "test" and found.n_epochs == 3
    assert found.channel_names == ("eeg1", "eeg2", "eeg7")
    assert found.eeg.shape == (3, 3, len(found.eeg_feature_names)) and found.eeg.dtype == np.float32
    assert found.weights.shape == found.quality.shape == (3, 3)
    assert found.accelerometer.shape == (3, len(found.accelerometer_feature_names))
    assert np.isfinite(found.eeg).all() and np.isfinite(found.accelerometer).all()


def test_a_channel_does_not_depend_on_which_others_are_there():
    values = {name: noise_like_eeg(60, seed=seed) for seed, name in enumerate(["eeg1", "eeg2"])}
    both, one = night_features(night_of(values, 2)), night_features(night_of(values, 2).select(["eeg2"]))
    np.testing.assert_array_equal(both.eeg[1], one.eeg[0])
    np.testing.assert_array_equal(both.weights[1], one.weights[0])


def bytes_of(found):
    return [getattr(found, part).tobytes() for part in ("eeg", "weights", "quality", "accelerometer")]


def test_the_number_of_threads_changes_no_digit():
    values = {name: noise_like_eeg(1200, seed=seed) for seed, name in enumerate(["eeg1", "eeg2", "eeg3"])}
    values["eeg2"][300 * RAW_FS_HZ : 340 * RAW_FS_HZ] = -2.4e6
    night = night_of(values, 40, lying_still(40))
    found = []
    for of_libraries, own in [(1, 1), (2, 2), (4, 3)]:
        with threadpool_limits(of_libraries):
            found.append(bytes_of(night_features(night, n_threads=own)))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("hours", [0.5, 1])
def test_an_epoch_does_not_depend_on_how_the_night_goes_on(hours):
    values = noise_like_eeg(2 * 3600, seed=5)
    n_epochs = round(hours * 120)
    whole, start = (night_features(night_of({"eeg1": values[: n * 30 * RAW_FS_HZ]}, n)) for n in (240, n_epochs))
    known = slice(0, n_epochs - 1)  # the last epoch ends at the edge of the shorter one
    np.testing.assert_allclose(start.eeg[0, known], whole.eeg[0, known], atol=2e-3)


def test_without_accelerometer_its_features_are_nan():
    found = night_features(night_of({"eeg1": noise_like_eeg(60)}, 2))
    assert np.isnan(found.accelerometer).all()
    assert found.notes == ()


@pytest.mark.parametrize("still_g", [0.0, 0.97])
def test_a_dead_accelerometer_is_none_and_is_noted(still_g):
    found = night_features(night_of({"eeg1": noise_like_eeg(60)}, 2, np.full((3, 3000), still_g)))
    assert np.isnan(found.accelerometer).all()
    assert found.notes == ("a dead accelerometer, which is left out",)


def test_an_accelerometer_that_dies_has_no_features_from_there():
    axes = lying_still(10)
    axes[:, 7 * 1500 + 200 :] = axes[:, [7 * 1500 + 200]]
    found = night_features(night_of({"eeg1": noise_like_eeg(300)}, 10, axes))
    assert np.isnan(found.accelerometer).any(axis=1).tolist() == [False] * 8 + [True] * 2
    assert found.notes == ("a dead accelerometer in 2 epochs, left out there",)


def test_one_axis_that_is_stuck_is_no_dead_accelerometer():
    axes = lying_still(4)
    axes[1] = 0
    assert np.isfinite(night_features(night_of({"eeg1": noise_like_eeg(120)}, 4, axes)).accelerometer).all()


@pytest.mark.parametrize(("eeg_hz", "axes_hz"), [(1000 / 3, 12.5), (250.1, 62.5), (100, 128), (512, 51.2), (257, 32)])
def test_any_rate_of_whole_samples_in_an_epoch_puts_events_where_they_are(eeg_hz, axes_hz):
    n_epochs, last = 240, 238  # two hours, at whose end a drift would show
    random = np.random.default_rng(0)
    values = random.normal(0, 10, round(n_epochs * 30 * eeg_hz)).astype(np.float32)
    axes = np.array([[0.1], [0.2], [0.97]]) + random.normal(0, 0.002, (3, round(n_epochs * 30 * axes_hz)))
    start, stop = (round((last * 30 + s) * eeg_hz) for s in (1, 29))
    values[start:stop] += 50 * np.sin(2 * np.pi * 10 * np.arange(stop - start) / eeg_hz).astype(np.float32)
    start, stop = (round((last * 30 + s) * axes_hz) for s in (1, 29))
    axes[:, start:stop] += random.normal(0, 0.3, (3, stop - start))
    signals = {"eeg1": Signal(values, eeg_hz, "µV", "eeg")}
    signals |= {f"accelerometer_{i}": Signal(axis, axes_hz, "g", "accelerometer") for i, axis in enumerate(axes)}
    found = night_features(Night("night-1", signals, n_epochs))
    alpha = found.eeg[0, :, found.eeg_feature_names.index("log_alpha")]
    moving = found.accelerometer[:, ACCELEROMETER_FEATURES.index("moving_share")]
    assert found.eeg.shape[1] == len(found.accelerometer) == n_epochs
    assert np.flatnonzero(alpha > alpha.mean() + 1).tolist() == [last]
    assert np.flatnonzero(moving).tolist() == [last] and moving[last] == pytest.approx(28 / 30, abs=0.04)


def test_an_accelerometer_that_ends_early_is_nan_from_there():
    found = night_features(night_of({"eeg1": noise_like_eeg(120)}, 4, lying_still(2)))
    assert np.isfinite(found.accelerometer[:2]).all() and np.isnan(found.accelerometer[2:]).all()


def test_a_channel_off_for_part_of_the_night_weighs_nothing_there_and_is_the_same_elsewhere():
    values = noise_like_eeg(300)
    off = values.copy()
    off[90 * RAW_FS_HZ : 180 * RAW_FS_HZ] = -2.4e6
    found = night_features(night_of({"eeg1": values, "eeg2": off}, 10))
    assert not found.weights[1, 3:6].any() and np.isnan(found.eeg[1, 3:6]).all()
    far = [0, 1, 7, 8, 9]
    np.testing.assert_allclose(found.eeg[1, far], found.eeg[0, far], atol=0.03)
    assert (found.weights[1, far] == 1).all()


@pytest.mark.parametrize("n_seconds", [45, 240, 290])
def test_a_derivation_that_ends_early_is_described_as_if_all_were_cleaned_and_costs_only_its_part(
    n_seconds, monkeypatch
):
    values = noise_like_eeg(900)
    values[n_seconds * RAW_FS_HZ :] = np.nan
    whole, lengths = clean_eeg(values, RAW_FS_HZ), []
    monkeypatch.setattr(features, "clean_eeg", lambda of, *rest: lengths.append(len(of)) or clean_eeg(of, *rest))
    found = night_features(night_of({"eeg1": values}, 30))
    quality, weights = epoch_quality(whole)
    expected = np.stack(list(eeg_features(whole).values()), axis=1)
    expected[weights == 0] = np.nan
    np.testing.assert_allclose(found.eeg[0], expected, atol=1e-4)
    np.testing.assert_allclose(found.weights[0], weights, atol=1e-6)
    assert found.quality[0].tolist() == quality.tolist()
    assert lengths[0] <= (n_seconds + 60) * RAW_FS_HZ


@pytest.mark.parametrize(("level", "quality"), [(0, Quality.FLAT), (-30, Quality.FLAT), (-2.4e6, Quality.OFF)])
def test_a_channel_of_one_value_is_not_cleaned_and_says_what_it_is(level, quality, monkeypatch):
    values = np.full(600 * RAW_FS_HZ, level, dtype=np.float32)
    expected, _ = epoch_quality(clean_eeg(values, RAW_FS_HZ))
    monkeypatch.setattr(features, "clean_eeg", None)
    found = night_features(night_of({"eeg1": values}, 20))
    assert found.quality[0].tolist() == expected.tolist() == [quality] * 20
    assert not found.weights.any() and np.isnan(found.eeg).all()


@pytest.mark.parametrize("step", SKIPPABLE)
def test_each_step_can_be_left_out_and_changes_something(step):
    raw = noise_like_eeg(120) + 60 * np.sin(2 * np.pi * 0.1 * np.arange(120 * RAW_FS_HZ) / RAW_FS_HZ)
    raw[40 * RAW_FS_HZ : 45 * RAW_FS_HZ] = -2.4e6
    raw[95 * RAW_FS_HZ : 99 * RAW_FS_HZ] += 400 * np.sin(2 * np.pi * np.arange(4 * RAW_FS_HZ) / RAW_FS_HZ)
    night = night_of({"eeg1": raw}, 4, lying_still(4))
    whole, less = night_features(night), night_features(night, skip={step})
    same = all(np.array_equal(getattr(whole, part), getattr(less, part), equal_nan=True)
               for part in ("eeg", "weights", "accelerometer"))
    assert not same
    assert less.eeg.shape == whole.eeg.shape


def test_a_night_without_eeg_or_with_an_unknown_step_is_refused():
    only_motion = Night("motion", {"accelerometer_x": Signal(np.zeros(3000), 50, "g", "accelerometer")}, 2)
    with pytest.raises(ValueError, match="motion: expected an EEG channel, found accelerometer_x"):
        night_features(only_motion)
    with pytest.raises(ValueError, match="sleep"):
        night_features(night_of({"eeg1": noise_like_eeg(60)}, 2), skip={"sleep"})
