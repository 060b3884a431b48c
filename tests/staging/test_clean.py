"""What cleaning a channel must do to faults, and must not do to EEG."""


import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from dreem_case.staging import clean, movement
from dreem_case.staging.clean import (
    CLIP_UV,
    FS_HZ,
    Cleaned,
    Mark,
    Quality,
    clean_eeg,
    epoch_quality,
    find_artefacts,
    looks_like,
    usual_amplitude,
)
from dreem_case.staging.movement import in_g

RAW_FS_HZ = 250


def noise_like_eeg(n_s, fs_hz=RAW_FS_HZ, rms_uv=25.0, seed=0):
    """Make noise with an EEG's spectrum: power falls as 1/f² above 0.3 Hz, and a floor of white noise."""
    n = round(n_s * fs_hz)
    freqs_hz = np.fft.rfftfreq(n, 1 / fs_hz)
    shape = np.where(freqs_hz > 0.3, 1 / np.maximum(freqs_hz, 0.3), 0)
    random = np.random.default_rng(seed)
    values = np.fft.irfft(shape * (random.normal(size=shape.size) + 1j * random.normal(size=shape.size)), n)
    return (values * rms_uv / values.std() + random.normal(0, 1, n)).astype(np.float32)


def marked_s(marks):
    return (marks > 0).sum() * clean.BLOCK_S


# What is EEG stays unmarked


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fs_hz", [100, 128, 250, 256, 500])
def test_under_a_thousandth_of_clean_eeg_is_marked(seed, fs_hz):
    assert np.mean(find_artefacts(noise_like_eeg(600, fs_hz, seed=seed), fs_hz) > 0) < 0.001


@pytest.mark.parametrize("wave_hz", [0.5, 0.8, 1.0, 2.0])
@pytest.mark.parametrize("spacing_s", [1, 7, 60])
def test_slow_waves_of_300_uv_are_not_marked(wave_hz, spacing_s):
    values = noise_like_eeg(600)
    cycle = -300 * np.sin(2 * np.pi * wave_hz * np.arange(round(RAW_FS_HZ / wave_hz)) / RAW_FS_HZ)
    for start in range(RAW_FS_HZ, len(values) - len(cycle), max(spacing_s * RAW_FS_HZ, len(cycle))):
        values[start : start + len(cycle)] += cycle
    assert np.mean(find_artefacts(values, RAW_FS_HZ) > 0) < 0.001


@pytest.mark.parametrize("polarity", [1, -1])
def test_blinks_of_300_uv_are_not_marked(polarity):
    values = noise_like_eeg(600, rms_uv=15)
    blink = 300 * polarity * np.hanning(round(0.35 * RAW_FS_HZ))
    for start in range(RAW_FS_HZ, len(values) - len(blink), 4 * RAW_FS_HZ):
        values[start : start + len(blink)] += blink
    assert np.mean(find_artefacts(values, RAW_FS_HZ) > 0) < 0.001


def test_offset_drift_and_mains_hum_are_not_marked():
    values = noise_like_eeg(600)
    t = np.arange(len(values)) / RAW_FS_HZ
    values += 50_000 - 40_000 * np.exp(-t / 120) + 150 * np.sin(2 * np.pi * 50 * t)
    assert np.mean(find_artefacts(values, RAW_FS_HZ) > 0) < 0.001


# What is no EEG is found and bridged


def faulty(kind, amplitude, at=(100, 110)):
    """Return clean noise, and the same noise with a fault between two seconds."""
    values = noise_like_eeg(300)
    raw = values.copy()
    start, stop = at[0] * RAW_FS_HZ, at[1] * RAW_FS_HZ
    if kind == "pop":
        raw[start : start + 20] += amplitude
    elif kind == "step":
        raw[start:] += amplitude
    elif kind == "plateau":
        raw[start:stop] = amplitude
    elif kind == "saturation":  # back and forth between the ends of a small range
        raw[start:stop] = amplitude * np.sign(np.sin(2 * np.pi * np.arange(stop - start) / RAW_FS_HZ))
    return values, raw


FAULTS = [
    ("pop", 2e3), ("pop", -4e6), ("step", 5e3), ("step", -1e5), ("plateau", -2.4e6), ("saturation", 5e3),
]


@pytest.mark.parametrize(("kind", "amplitude"), FAULTS)
def test_a_fault_is_marked_where_it_is_and_hardly_beyond(kind, amplitude):
    marks = find_artefacts(faulty(kind, amplitude)[1], RAW_FS_HZ)
    length = 10 if kind in ("plateau", "saturation") else 0.1
    assert (marks[1000 : 1000 + round(length * 10)] > 0).all()
    assert marked_s(marks) < length + 2
    assert not marks[:980].any() and not marks[1130:].any()


@pytest.mark.parametrize(("kind", "amplitude"), FAULTS)
def test_a_bridged_fault_leaves_the_rest_of_the_signal_as_it_was(kind, amplitude):
    values, raw = faulty(kind, amplitude)
    expected, found = clean_eeg(values, RAW_FS_HZ), clean_eeg(raw, RAW_FS_HZ)
    distance = np.abs(found.values - expected.values)
    assert np.abs(found.values).max() < CLIP_UV
    far = np.ones(len(distance), dtype=bool)
    far[97 * FS_HZ : 113 * FS_HZ] = False
    assert distance[far].max() < 1  # µV, 2 s and more from the fault
    assert distance[~found.bridged].mean() < 1


@pytest.mark.parametrize(("kind", "amplitude"), [("step", 1e5), ("plateau", -2.4e6), ("pop", 4e6)])
def test_without_bridging_the_filter_rings_for_seconds(kind, amplitude):
    raw = faulty(kind, amplitude)[1]
    beyond_s = np.sum(np.abs(clean_eeg(raw, RAW_FS_HZ, skip={"bridge", "clip"}).values) > CLIP_UV) / FS_HZ
    assert beyond_s > 3
    assert not np.any(np.abs(clean_eeg(raw, RAW_FS_HZ, skip={"clip"}).values) > CLIP_UV)


@given(
    start=st.floats(0, 55), length=st.floats(0.3, 20), level=st.sampled_from([-2.4e6, 4e6, 1e4, -3e4]),
    offset=st.floats(-1e5, 1e5),
)
@settings(max_examples=60, deadline=None)
def test_bridging_changes_good_samples_by_a_constant_per_stretch_only(start, length, level, offset):
    raw = noise_like_eeg(60) + np.float32(offset)
    raw[round(start * RAW_FS_HZ) : round((start + length) * RAW_FS_HZ)] = level
    marks = find_artefacts(raw, RAW_FS_HZ)
    bridged = clean.bridge(raw, marks, RAW_FS_HZ)
    assert bridged.shape == raw.shape and np.isfinite(bridged).all()
    good = np.repeat(marks == 0, 25)
    inside = good[1:] & good[:-1]
    np.testing.assert_allclose(np.diff(bridged)[inside], np.diff(raw)[inside], atol=0.05)
    assert np.abs(bridged).max() < 400


def test_a_fault_at_either_end_is_bridged_too():
    raw = noise_like_eeg(60)
    raw[: 5 * RAW_FS_HZ] = -2.4e6
    raw[-5 * RAW_FS_HZ :] = 2.4e6
    cleaned = clean_eeg(raw, RAW_FS_HZ)
    assert cleaned.bridged[: 5 * FS_HZ].all() and cleaned.bridged[-5 * FS_HZ :].all()
    assert np.abs(cleaned.values).max() < CLIP_UV


@pytest.mark.parametrize("side", [1, -1])
def test_a_short_good_stretch_between_an_edge_and_a_fault_stays_good(side):
    raw = noise_like_eeg(60)[::side]
    raw[round(1.5 * RAW_FS_HZ) : 6 * RAW_FS_HZ] = -2.4e6
    marks = find_artefacts(raw[::side], RAW_FS_HZ)[::side]
    assert not marks[:11].any()
    assert marks[11:63].all()


def test_a_bridge_is_at_the_median_of_what_is_beside_it():
    raw, marks = np.zeros(3000, np.float32), np.zeros(300, np.int8)
    raw[989:991] = 500  # in the middle of the last 0.2 s before the fault, and still an outlier
    marks[100:110] = Mark.JUMP
    assert not clean.bridge(raw, marks, FS_HZ)[1000:1100].any()


@pytest.mark.parametrize("level", [0.0, 37.5, -2.4e6])
def test_a_channel_that_is_off_all_night_is_marked_throughout_and_weighs_nothing(level):
    cleaned = clean_eeg(np.full(120 * RAW_FS_HZ, level), RAW_FS_HZ)
    quality, weight = epoch_quality(cleaned)
    assert (cleaned.marks > 0).all() and not cleaned.values.any()
    assert set(quality) == {Quality.OFF if level < -1e6 else Quality.FLAT}
    assert not weight.any()


def test_a_channel_off_for_most_of_the_night_keeps_its_good_part():
    values = noise_like_eeg(600)
    raw = values.copy()
    raw[: 400 * RAW_FS_HZ] = -2.4e6 + np.random.default_rng(1).normal(0, 1, 400 * RAW_FS_HZ)
    marks = find_artefacts(raw, RAW_FS_HZ)
    assert (marks[:4000] == Mark.RAIL).mean() > 0.99
    assert not marks[4010:].any()


# Filter


def response(tone_hz):
    t = np.arange(120 * RAW_FS_HZ) / RAW_FS_HZ
    out = clean.band_pass(np.sin(2 * np.pi * tone_hz * t), RAW_FS_HZ)[40 * FS_HZ : 80 * FS_HZ]
    return 20 * np.log10(np.sqrt(2) * out.std() + 1e-9)


@pytest.mark.parametrize("tone_hz", [0.8, 1, 2, 4, 8, 13, 20, 28])
def test_pass_band_is_kept_within_half_a_decibel(tone_hz):
    assert abs(response(tone_hz)) < 0.5


@pytest.mark.parametrize(
    ("tone_hz", "at_most_db"), [(0.05, -60), (0.25, -40), (45, -20), (50, -40), (60, -40), (110, -60)]
)
def test_stop_band_is_gone(tone_hz, at_most_db):
    assert response(tone_hz) < at_most_db


@pytest.mark.parametrize("edge_hz", clean.BAND_HZ)
def test_edges_are_at_minus_six_decibels(edge_hz):
    assert response(edge_hz) == pytest.approx(-6, abs=0.5)


def test_filter_has_no_delay():
    t = np.arange(60 * RAW_FS_HZ) / RAW_FS_HZ
    for centre_s, width_s in [(30, 0.1), (29.5, 0.02)]:
        pulse = np.exp(-((t - centre_s) ** 2) / (2 * width_s**2))
        out = clean.band_pass(pulse, RAW_FS_HZ)
        assert out.argmax() / FS_HZ == pytest.approx(centre_s, abs=0.5 / FS_HZ)


@pytest.mark.parametrize("n_s", [120, 900])  # one piece, and several that meet
def test_band_pass_is_a_butterworth_filter_run_forwards_and_backwards(n_s):
    values = noise_like_eeg(n_s) + np.linspace(0, 5000, n_s * RAW_FS_HZ)
    sections = signal.butter(clean.FILTER_ORDER, clean.BAND_HZ, "bandpass", fs=FS_HZ, output="sos")
    at_100_hz = signal.resample_poly(values, 2, 5, padtype="line", window=("kaiser", 12))
    expected = signal.sosfiltfilt(sections, at_100_hz)
    found = clean.band_pass(values, RAW_FS_HZ)
    middle = slice(5 * FS_HZ, -5 * FS_HZ)
    assert np.sqrt(np.mean((found - expected)[middle] ** 2)) < 0.01 * expected.std()  # the other resampler aliases


def test_pieces_meet_without_a_seam():
    t = np.arange(1200 * RAW_FS_HZ) / RAW_FS_HZ
    values = 20 * np.sin(2 * np.pi * 10 * t) + 30_000 * np.exp(-t / 120)
    found = clean.band_pass(values, RAW_FS_HZ)[60 * FS_HZ : -60 * FS_HZ]
    expected = 20 * np.sin(2 * np.pi * 10 * np.arange(60 * FS_HZ, 1140 * FS_HZ) / FS_HZ)
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize("fs_hz", [100, 128, 200, 256, 500, 512])
def test_any_rate_ends_at_100_hz_with_the_same_signal(fs_hz):
    t = np.arange(60 * fs_hz) / fs_hz
    found = clean_eeg(40 * np.sin(2 * np.pi * 3 * t), fs_hz)
    assert len(found.values) == 60 * FS_HZ
    assert len(found.marks) == pytest.approx(600, abs=1)
    expected = 40 * np.sin(2 * np.pi * 3 * np.arange(60 * FS_HZ) / FS_HZ)
    np.testing.assert_allclose(found.values[1000:-1000], expected[1000:-1000], atol=0.3)


@pytest.mark.parametrize(("tone_hz", "gain"), [(40, 1), (45, 0.5), (48, 0.095), (49.9, 0)])
def test_without_a_band_pass_a_tone_that_100_hz_hardly_holds_is_weakened(tone_hz, gain):
    found = clean.resample(np.sin(2 * np.pi * tone_hz * np.arange(60 * RAW_FS_HZ) / RAW_FS_HZ), RAW_FS_HZ)
    assert np.sqrt(2) * found[1000:-1000].std() == pytest.approx(gain, abs=0.01)


# Steps, gain, sign


def test_clipping_bounds_what_is_left_and_can_be_left_out():
    values = noise_like_eeg(60)
    values[:3000] += 380 * np.sin(2 * np.pi * 0.6 * np.arange(3000) / RAW_FS_HZ)
    assert np.abs(clean_eeg(values, RAW_FS_HZ).values).max() == CLIP_UV
    assert np.abs(clean_eeg(values, RAW_FS_HZ, skip={"clip"}).values).max() > CLIP_UV


def test_leaving_out_bridging_leaves_nothing_marked():
    raw = faulty("plateau", -2.4e6)[1]
    assert not clean_eeg(raw, RAW_FS_HZ, skip={"bridge"}).marks.any()


def test_leaving_out_the_band_pass_keeps_slow_drift():
    drift = 100 * np.sin(2 * np.pi * 0.02 * np.arange(60 * RAW_FS_HZ) / RAW_FS_HZ)
    assert clean_eeg(drift + noise_like_eeg(60), RAW_FS_HZ, skip={"band_pass"}).values.std() > 60
    assert clean_eeg(drift + noise_like_eeg(60), RAW_FS_HZ).values.std() < 40


@pytest.mark.parametrize("gain", [-1, 0.5, 2, -2])
def test_gain_and_sign_do_not_change_marks_or_quality(gain):
    raw = noise_like_eeg(300)
    raw[50 * RAW_FS_HZ] += 1e5
    raw[100 * RAW_FS_HZ : 110 * RAW_FS_HZ] = 1e4
    raw[150 * RAW_FS_HZ :] += 5e3
    raw[200 * RAW_FS_HZ : 240 * RAW_FS_HZ] += np.random.default_rng(1).normal(0, 25, 40 * RAW_FS_HZ)
    first, second = clean_eeg(raw, RAW_FS_HZ), clean_eeg(gain * raw, RAW_FS_HZ)
    np.testing.assert_array_equal(first.marks, second.marks)
    assert second.gain == pytest.approx(abs(gain) * first.gain)
    np.testing.assert_array_equal(epoch_quality(first)[0], epoch_quality(second)[0])
    np.testing.assert_allclose(epoch_quality(first)[1], epoch_quality(second)[1], atol=0.01)
    np.testing.assert_allclose(gain * first.values, second.values, atol=0.02)


def test_input_is_not_changed():
    raw = faulty("plateau", -2.4e6)[1]
    before = raw.copy()
    clean_eeg(raw, RAW_FS_HZ)
    np.testing.assert_array_equal(raw, before)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((7, 5000)), "shape"), (np.zeros(10), "at least 2 s"),
    ],
)
def test_what_is_no_channel_is_refused_with_what_was_found(values, message):
    with pytest.raises(ValueError, match=message):
        clean_eeg(values, RAW_FS_HZ)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("n", "mark"), [(1, Mark.JUMP), (250 * 5, Mark.RAIL)])
@pytest.mark.parametrize("skip", [set(), {"bridge"}])
def test_what_is_no_number_is_a_gap_like_saturation(bad, n, mark, skip):
    values = noise_like_eeg(60)
    values[5000 : 5000 + n] = bad
    cleaned = clean_eeg(values, RAW_FS_HZ, skip)
    assert np.isfinite(cleaned.values).all()
    assert skip or (cleaned.marks[200 : 200 + n // 25 + 1] == mark).all()
    whole = clean_eeg(noise_like_eeg(60), RAW_FS_HZ)
    np.testing.assert_allclose(cleaned.values[:1500], whole.values[:1500], atol=1)


def test_a_channel_without_a_number_is_off():
    cleaned = clean_eeg(np.full(250 * 60, np.nan), RAW_FS_HZ)
    quality, weight = epoch_quality(cleaned)
    assert (quality == Quality.OFF).all()
    assert not weight.any()


@pytest.mark.parametrize("gain", [0.2, 1, 5])
def test_an_amplitude_says_what_it_may_be(gain):
    values = gain * np.random.default_rng(0).normal(0, 15, RAW_FS_HZ * 600) + 1e5
    for factor, words in [(1, ""), (1e-6, "volts"), (1e-3, "millivolts"), (1e3, "nanovolts")]:
        looks = looks_like(usual_amplitude(factor * values, RAW_FS_HZ))
        assert looks.startswith(words) if words else not looks


def test_hours_on_the_table_do_not_count_for_the_usual_amplitude():
    values = np.random.default_rng(0).normal(0, 15, RAW_FS_HZ * 3600)
    values[RAW_FS_HZ * 900 :] /= 100
    assert 13 < usual_amplitude(values, RAW_FS_HZ) < 17
    assert usual_amplitude(np.zeros(RAW_FS_HZ * 60), RAW_FS_HZ) == 0
    assert np.isnan(usual_amplitude(np.full(RAW_FS_HZ * 60, np.nan), RAW_FS_HZ))


@pytest.mark.parametrize(("factor", "unit"), [(9.80665, "m/s²"), (1000, "mg"), (16384, "counts"), (64, "counts")])
def test_an_accelerometer_is_scaled_by_gravity(factor, unit):
    axes = np.array([[0.1], [0.3], [0.94]]) + np.random.default_rng(0).normal(0, 0.003, (3, 5000))
    found, about = in_g((factor * axes).astype(np.float32), 50)
    assert unit in about
    np.testing.assert_allclose(np.linalg.norm(found.mean(axis=1)), 1, atol=0.02)
    same, nothing = in_g(axes, 50)
    assert same is axes
    assert nothing == ""


def test_noise_of_an_amplifier_without_electrode_is_flat_however_large(raw_hour):
    cleaned = clean_eeg(raw_hour, RAW_FS_HZ)
    quality, weight = epoch_quality(cleaned)
    assert (quality[61:119] == Quality.FLAT).all()
    assert not weight[61:119].any()
    assert (quality[:59] == Quality.GOOD).all()


@pytest.fixture(params=[0.2, 1, 3])
def raw_hour(request):
    values = noise_like_eeg(3600)
    values[len(values) // 2 :] = np.random.default_rng(1).normal(0, request.param, len(values) - len(values) // 2)
    return values


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match="notch"):
        clean_eeg(noise_like_eeg(10), RAW_FS_HZ, skip={"notch"})


# Quality


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda x, n: np.full(n, -2.4e6), Quality.OFF),
        (lambda x, n: np.full(n, 120.0), Quality.FLAT),
        (lambda x, n: np.where(np.arange(n) < 5 * RAW_FS_HZ, 3e4, x), Quality.SATURATED),
        (lambda x, n: x + np.random.default_rng(0).normal(0, 100, n), Quality.NOISY),
        (lambda x, n: x + 3e3 * np.sin(2 * np.pi * 0.4 * np.arange(n) / RAW_FS_HZ), Quality.NOISY),
        (lambda x, n: x, Quality.GOOD),
    ],
    ids=["loose electrode", "dead input", "short saturation", "muscle", "moving head", "nothing"],
)
def test_each_fault_gets_its_word(fault, expected):
    raw = noise_like_eeg(300).astype(float)
    span = slice(120 * RAW_FS_HZ, 150 * RAW_FS_HZ)
    raw[span] = fault(raw[span], 30 * RAW_FS_HZ)
    quality, weight = epoch_quality(clean_eeg(raw, RAW_FS_HZ))
    assert quality[4] == expected
    assert (np.delete(quality, [3, 4, 5]) == Quality.GOOD).all()
    assert weight[0] == 1
    assert (weight[4] == 0) == (expected in (Quality.OFF, Quality.FLAT))
    assert (weight[4] == 1) == (expected == Quality.GOOD)


def test_deep_sleep_is_not_noisy():
    raw = noise_like_eeg(600)
    t = np.arange(120 * RAW_FS_HZ) / RAW_FS_HZ
    raw[: len(t)] += 100 * np.sin(2 * np.pi * 0.9 * t)
    assert (epoch_quality(clean_eeg(raw, RAW_FS_HZ))[0] == Quality.GOOD).all()


def test_white_noise_all_night_is_noisy_and_counts_little():
    white = np.random.default_rng(0).normal(0, 30, 300 * RAW_FS_HZ)
    quality, weight = epoch_quality(clean_eeg(white, RAW_FS_HZ))
    assert (quality == Quality.NOISY).all() and weight.max() < 0.5


@pytest.mark.parametrize("n_s", [30, 59.9, 60, 95.5])
def test_a_part_epoch_is_not_counted(n_s):
    cleaned = clean_eeg(noise_like_eeg(n_s), RAW_FS_HZ)
    quality, weight = epoch_quality(cleaned)
    assert cleaned.n_epochs == len(quality) == len(weight) == int(n_s // 30)
    assert cleaned.epochs.shape == (cleaned.n_epochs, 3000)
    assert cleaned.epoch_marks.shape == (cleaned.n_epochs, 300)
    assert cleaned.bridged.shape == cleaned.values.shape


def test_marks_that_end_before_the_values_count_as_they_end():
    cleaned = Cleaned(np.zeros(115, dtype=np.float32), np.array([0] * 10 + [2], dtype=np.int8))
    assert cleaned.bridged[100:].all() and not cleaned.bridged[:100].any()


# Accelerometer


def lying_still(n_s=1800, fs_hz=50, breaths_per_min=14.0, seed=0):
    random = np.random.default_rng(seed)
    t = np.arange(n_s * fs_hz) / fs_hz
    axes = np.array([[0.2], [-0.3], [0.93]]) + random.normal(0, 0.002, (3, t.size))
    axes += np.array([[0.2], [1.0], [0.3]]) * 0.005 * np.sin(2 * np.pi * breaths_per_min / 60 * t)
    return axes


@pytest.mark.parametrize("breaths_per_min", [8, 12, 15.5, 24])
def test_breathing_rate_is_found_within_half_a_breath(breaths_per_min):
    rate, strength = movement.breathing(lying_still(breaths_per_min=breaths_per_min), 50)
    assert np.abs(rate - breaths_per_min).max() < 0.5
    assert np.median(strength) > 0.7


@pytest.mark.parametrize("fs_hz", [12.5, 25, 32, 51.2, 62.5, 100, 128])
def test_breathing_and_movement_hardly_depend_on_the_rate(fs_hz):
    axes = lying_still(fs_hz=fs_hz)[:, : round(1800 * fs_hz)]
    rate, strength = movement.breathing(axes, fs_hz)
    assert len(rate) == 60 and np.abs(rate - 14).max() < 0.5 and np.median(strength) > 0.7
    assert len(movement.movement(axes, fs_hz)) == 1800
    usual = np.median(movement.movement(lying_still(), 50))
    assert np.median(movement.movement(axes, fs_hz)) == pytest.approx(usual, rel=0.3)


def test_noise_has_no_strong_breathing():
    _, strength = movement.breathing(np.random.default_rng(0).normal(0, 0.002, (3, 1800 * 50)), 50)
    assert np.median(strength) < 0.5


def test_a_turn_does_not_drown_the_breathing_around_it():
    axes = lying_still()
    axes[:, 900 * 50 :] = axes[[2, 0, 1], 900 * 50 :]
    rate, _ = movement.breathing(axes, 50)
    assert np.abs(np.delete(rate, [29, 30]) - 14).max() < 1


@pytest.mark.parametrize("mount", [[0, 1, 2], [2, 0, 1], [1, 0, 2]])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_movement_and_posture_do_not_depend_on_how_the_sensor_is_mounted(mount, signs):
    axes = lying_still()
    axes[:, 601 * 50 :] = axes[[1, 2, 0], 601 * 50 :]
    turned = axes[mount] * np.array(signs)[:, None]
    np.testing.assert_allclose(movement.movement(axes, 50), movement.movement(turned, 50), atol=1e-4)
    for first, second in zip(movement.posture(axes, 50), movement.posture(turned, 50), strict=True):
        np.testing.assert_allclose(first, second, atol=0.1)


def test_a_turn_shows_in_its_epoch_only():
    axes = lying_still()
    axes[:, 601 * 50 :] = axes[[1, 2, 0], 601 * 50 :]
    angle, turn = movement.posture(axes, 50)
    assert turn[20] > 45 and np.delete(turn, 20).max() < 2
    assert np.abs(angle[21:]).max() < 2 < angle[:20].min()


@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_fewer_axes_still_give_numbers(n_axes):
    axes = lying_still()[:n_axes]
    outputs = [movement.movement(axes, 50), *movement.posture(axes, 50), *movement.breathing(axes, 50)]
    assert all(np.isfinite(values).all() for values in outputs)


# Real raw EEG


@pytest.fixture(scope="module")
def nap(real_data):
    with h5py.File(real_data / "raw_eeg" / "nap.h5") as file:
        return {name: file[name][:] for name in file}


def test_real_nap_the_saturating_electrode_is_found_in_its_derivations(nap):
    for name, values in nap.items():
        marks = find_artefacts(values, RAW_FS_HZ)
        saturated = marks[10670:10710]
        assert (saturated > 0).all() if name in ("eeg2", "eeg3", "eeg4") else marked_s(marks) < 3


def test_real_nap_is_good_elsewhere(nap):
    for values in nap.values():
        quality, weight = epoch_quality(clean_eeg(values, RAW_FS_HZ))
        assert (np.delete(quality, 35) == Quality.GOOD).all()
        assert np.delete(weight, 35).min() > 0.95


@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
def test_gaps_take_the_last_number_before_them_or_else_the_first_one(monkeypatch, at_once):
    monkeypatch.setattr(clean, "_AT_ONCE", at_once)
    values = np.arange(2 * 30, dtype=np.float32).reshape(2, 30)
    values[0, :4] = values[0, 9:17] = values[0, 28:] = values[1] = np.nan
    expected = np.arange(30.0)
    expected[:4], expected[9:17], expected[28:] = 4, 8, 27
    assert clean.without_gaps(values).tolist() == [expected.tolist(), [0] * 30]
    assert np.isnan(values[0, 0])  # which stays as it was
