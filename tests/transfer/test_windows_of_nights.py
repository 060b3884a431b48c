"""A night becomes windows that depend on the night alone, and batches keep its order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreem_case.nights.night import Night, NightError, Signal
from dreem_case.transfer.windows import Batches, NightWindows, at_100_hz, low_pass, make_windows, night_windows


def noise(n_epochs, fs_hz=100, seed=0, size=20.0):
    values = np.random.default_rng(seed).normal(0, size, round(n_epochs * 30 * fs_hz))
    return Signal(values.astype(np.float32), fs_hz, "µV", "eeg")


@pytest.mark.parametrize("fs_hz", [100, 128, 200, 250, 256, 512])
def test_a_slow_wave_is_the_same_at_any_rate(fs_hz):
    time = np.arange(60 * fs_hz) / fs_hz
    found = at_100_hz(np.sin(2 * np.pi * 3 * time), fs_hz)
    assert len(found) == 6000
    wanted = np.sin(2 * np.pi * 3 * np.arange(6000) / 100)
    assert np.abs(found - wanted)[200:-200].max() < 0.01


def test_the_low_pass_keeps_sleep_and_takes_muscle():
    time = np.arange(6000) / 100
    kept, gone = (low_pass(np.sin(2 * np.pi * hertz * time))[500:-500].std() for hertz in (13, 45))
    assert kept > 0.7 > 0.02 > gone


def test_a_signal_of_any_size_is_the_same_to_a_network():
    one = noise(6)
    other = Signal(one.values * 1000 + 5, 100, "µV", "eeg")
    np.testing.assert_allclose(
        make_windows("a", "C3", one, 6).windows, make_windows("a", "C3", other, 6).windows, atol=1e-3
    )


def test_statistics_are_of_the_one_night():
    alone = make_windows("a", "C3", noise(6), 6)
    make_windows("b", "C3", noise(6, size=900), 6)
    np.testing.assert_array_equal(alone.windows, make_windows("a", "C3", noise(6), 6).windows)


def test_gaps_and_flat_stretches_are_marked_and_move_nothing():
    whole = noise(10)
    values = whole.values.copy()
    values[:6000], values[9000:12000] = np.nan, 3.0
    found = make_windows("a", "C3", Signal(values, 100, "µV", "eeg"), 10)
    assert found.seen.tolist() == [False, False, True, False, True, True, True, True, True, True]
    assert not found.windows[~found.seen].any()
    np.testing.assert_allclose(found.windows[6:], make_windows("a", "C3", whole, 10).windows[6:], rtol=0.05, atol=0.05)
    assert (found.quality[0] == np.where(found.seen, 0, 4)).all() and found.weights.tolist() == [found.seen.tolist()]


@pytest.mark.parametrize("fs_hz", [100, 250])
@pytest.mark.parametrize("size_uv", [0.0, 0.02])
def test_hours_without_electrodes_do_not_move_the_scale(size_uv, fs_hz):
    worn = noise(4, fs_hz).values
    before = np.random.default_rng(3).normal(0, size_uv, 8 * 30 * fs_hz) + 40 * (size_uv == 0)
    found = make_windows("a", "C3", Signal(np.concatenate([before, worn]).astype(np.float32), fs_hz, "µV", "eeg"), 12)
    assert found.seen.tolist() == [False] * 8 + [True] * 4
    alone = make_windows("a", "C3", Signal(worn, fs_hz, "µV", "eeg"), 4)
    assert found.amplitude == pytest.approx(alone.amplitude, rel=0.02)


@pytest.mark.parametrize("values", [np.zeros(9000), np.full(9000, np.nan), np.full(9000, 7.0)])
def test_a_night_without_signal_has_none(values):
    found = make_windows("a", "C3", Signal(values.astype(np.float32), 100, "µV", "eeg"), 3)
    assert not found.seen.any() and np.isfinite(found.windows).all()


def night(**signals):
    return Night("a", signals, 4)


def test_the_derivation_is_the_asked_the_preferred_or_the_fullest():
    half = noise(4, seed=1)
    half.values[: 3 * 3000] = np.nan
    both = night(C3=half, C4=noise(4))
    assert night_windows(both).derivation == "C4"
    assert night_windows(both, "C3").derivation == "C3"
    assert night_windows(both, preferred="C3").derivation == "C4"  # it has too little signal
    assert night_windows(night(C3=noise(4), C4=noise(4)), preferred="C4").derivation == "C4"
    with pytest.raises(NightError, match="a: expected the derivation Oz, found C3, C4"):
        night_windows(both, "Oz")
    with pytest.raises(NightError, match="expected an EEG derivation, found no signal"):
        night_windows(Night("a", {}, 0))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=3), st.integers(1, 12), st.integers(1, 5), st.integers(0, 9))
def test_every_epoch_is_met_once_in_its_place(lengths, context, size, number):
    nights = [
        NightWindows(
            str(i), "C3", np.repeat(np.arange(n, dtype=np.float32)[:, None] + 100 * i, 3000, 1), np.ones(n, bool), 1
        )
        for i, n in enumerate(lengths)
    ]
    labels = [np.arange(n) % 5 for n in lengths]
    batches = Batches(nights, labels, context, size, 0, number, vary=False)
    other = Batches(nights, labels, context, size, 0, number + 1, vary=False)
    met = []
    for windows, seen, given_labels in batches:
        values = windows[..., 0]
        steps = np.diff(values, axis=1)[seen[:, 1:] & seen[:, :-1]]
        assert (steps == 1).all()  # neighbours are neighbours in the night
        assert (given_labels[seen] == (values[seen] % 100) % 5).all() and (given_labels[~seen] == -1).all()
        met.extend(values[seen].tolist())
    assert sorted(met) == [100 * i + j for i, n in enumerate(lengths) for j in range(n)]
    assert len(other) == len(batches)
