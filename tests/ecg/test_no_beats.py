"""What holds no beats gives none, and what holds some is still read."""

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from dreem_case.ecg.detect import detect_beats, match_beats
from dreem_case.ecg.filtering import filtered
from dreem_case.ecg.recording import EcgError, make_recording
from dreem_case.ecg.score import score_recording
from dreem_case.ecg.simulate import simulate_record

FS_HZ = 360


def without_beats(seconds, seed=0):
    """Make signals in which no heart beats, or once."""
    random, n = np.random.default_rng(seed), seconds * FS_HZ
    t = np.arange(n) / FS_HZ
    noise = random.normal(0, 0.005, n)
    muscle = sosfilt(butter(2, (20, 150), "bandpass", fs=FS_HZ, output="sos"), random.normal(size=n))
    spike = np.where(np.arange(n) == n // 2, 1.0, 0.0)
    return {
        "ramp": np.linspace(0, 1, n), "steep ramp": np.linspace(5, -5, n), "parabola": (t / seconds) ** 2,
        "step": 1.0 * (t > seconds / 2) + noise, "stairs": np.floor(t) + noise,
        "square": np.sign(np.sin(4 * t)) + noise,
        "white noise": 20 * noise, "last digit": np.round(random.normal(0, 0.6, n)) / 200, "drift": np.cumsum(noise),
        "hum at 50 Hz": 0.5 * np.sin(2 * np.pi * 50 * t), "hum at 60 Hz": 0.5 * np.sin(2 * np.pi * 60 * t) + noise,
        "muscle": 0.2 * muscle, "muscle in bursts": muscle * np.clip(np.sin(5 * t), 0, None),
        "spike": spike + noise, "one beat": np.exp(-(((t - seconds / 2) / 0.012) ** 2)) + noise,
        "slow wander": np.sin(2 * t), "wander with noise": np.sin(2 * t) + noise, "fast wander": np.sin(9 * t),
        "5 Hz": np.sin(2 * np.pi * 5 * t), "sawtooth": (1.2 * t) % 1, "falling sawtooth": -((0.8 * t) % 1) + noise,
        "triangle": np.abs((1.2 * t) % 1 - 0.5), "pulses": 1.0 * (t % 1 < 0.3) + noise,
    }  # fmt: skip


@pytest.mark.parametrize("name", without_beats(10))
@pytest.mark.parametrize("seconds", [10, 60])
def test_what_holds_no_beats_is_refused_by_name(name, seconds):
    for seed in range(3):
        recording = make_recording(name, FS_HZ, {"MLII": without_beats(seconds, seed)[name]})
        with pytest.raises(EcgError, match="two beats at least, found fewer"):
            score_recording(recording)


def test_a_flat_line_with_a_spike_has_no_lead():
    with pytest.raises(EcgError, match="a lead with a signal"):
        make_recording("flat", FS_HZ, {"MLII": np.where(np.arange(3600) == 1800, 1.0, 0.0)})


@pytest.mark.parametrize("n_beats", [3, 4, 6])
def test_a_slow_heart_in_noise_has_the_beats_it_has(n_beats):
    t = np.arange(10 * FS_HZ) / FS_HZ
    time_s = np.linspace(1, 9, n_beats)
    x = sum(np.exp(-(((t - at) / 0.012) ** 2)) for at in time_s) + np.random.default_rng(0).normal(0, 0.01, len(t))
    found = detect_beats(filtered(make_recording("slow", FS_HZ, {"MLII": x})))
    assert len(found) == len(match_beats(time_s, found)) == n_beats


def test_beats_are_found_beside_a_lead_of_noise():
    recording, beats = simulate_record("sim01", "ventricular beats", minutes=2, seed=5)
    noise = np.random.default_rng(0).normal(0, 1, recording.n_samples)
    both = make_recording("both", FS_HZ, {"MLII": recording.leads["MLII"], "V1": noise})
    found = detect_beats(filtered(both))
    assert len(match_beats(beats.time_s, found)) >= 0.9 * len(beats.time_s)


def test_noise_after_the_electrode_is_off_has_no_beats():
    recording, beats = simulate_record("sim01", "sinus", minutes=2, seed=5)
    noise = np.random.default_rng(0).normal(0, 0.1, 300 * FS_HZ)
    longer = make_recording("off", FS_HZ, {"MLII": np.concatenate([recording.leads["MLII"], noise])})
    found = detect_beats(filtered(longer))
    assert len(match_beats(beats.time_s, found)) >= 0.98 * len(beats.time_s)
    assert not (found > 120 + 75).any()
    notes = score_recording(longer).notes
    assert any(note.startswith("no beats from 1") and note.endswith("to 420 s") for note in notes)


@pytest.mark.parametrize("rhythm", ["atrial beats", "ventricular beats", "fibrillation", "block", "paced"])
def test_simulated_records_keep_their_beats(rhythm):
    recording, beats = simulate_record("sim", rhythm, minutes=2, seed=2)
    found = detect_beats(filtered(recording))
    assert len(match_beats(beats.time_s, found)) >= 0.95 * len(beats.time_s)
    assert rhythm == "block" or len(found) <= 1.02 * len(beats.time_s)


def test_real_records_keep_their_beats(real_data):
    from dreem_case.ecg.study import detection

    both, missed, extra = sum(detection(real_data / "mitbih", ("101", "105", "108", "203", "208", "232")).values())
    assert both / (both + missed) > 0.998
    assert both / (both + extra) > 0.98
