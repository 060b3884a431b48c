import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.nights.night import Night, NightError, Signal, Signals
from dreem_case.nights.stages import UNSCORED


def make_night(n_epochs=4):
    return Night(
        "night-1",
        {
            "eeg1": Signal(np.arange(n_epochs * 7500, dtype=np.float32), 250, "µV", "eeg"),
            "eeg2": Signal(np.arange(n_epochs * 3000, dtype=np.float32), 100, "µV", "eeg"),
            "accelerometer_x": Signal(np.arange(n_epochs * 1500, dtype=np.float32), 50, "g", "accelerometer"),
        },
        n_epochs,
        np.arange(n_epochs) % 5,
        ["a note"],
    )


@given(st.integers(0, 7), st.integers(0, 12))
def test_a_crop_keeps_signals_and_stages_together(start, stop):
    night = make_night(8)
    if start >= min(stop, 8):
        with pytest.raises(NightError, match="night-1: expected a span within epochs 0 to 8"):
            night.crop(start, stop)
        return
    part = night.crop(start, stop)
    stop = min(stop, 8)
    assert part.n_epochs == stop - start
    assert part.hypnogram.tolist() == night.hypnogram[start:stop].tolist()
    for name in night.signals:
        whole, cut = night.signals[name], part.signals[name]
        assert cut.n_samples == part.n_epochs * 30 * whole.fs_hz
        assert cut.values[0] == start * 30 * whole.fs_hz


@given(st.integers(0, 3), st.integers(0, 3))
def test_two_crops_are_one(first, second):
    night = make_night(8)
    assert (
        night.crop(first).crop(second).signals["eeg1"].values.tolist()
        == night.crop(first + second).signals["eeg1"].values.tolist()
    )


@pytest.mark.parametrize("start", [-1, 4, 99])
def test_a_crop_outside_the_night_is_refused(start):
    with pytest.raises(NightError):
        make_night(4).crop(start)


def test_select_keeps_the_named_channels_in_their_order():
    night = make_night().select(["accelerometer_x", "eeg2"])
    assert list(night.signals) == ["accelerometer_x", "eeg2"]
    assert night.eeg_names == ("eeg2",)
    assert night.hypnogram is not None
    assert night.notes == ("a note",)


def test_select_refuses_a_channel_that_is_not_there():
    with pytest.raises(NightError, match="night-1: expected eeg9, found eeg1, eeg2, accelerometer_x"):
        make_night().select(["eeg1", "eeg9"])


@pytest.mark.parametrize("stages", [[0], [0] * 5, [[0] * 4]])
def test_a_hypnogram_has_one_entry_per_epoch(stages):
    with pytest.raises(NightError, match="night-1: expected 4 hypnogram entries, found shape"):
        Night("night-1", {}, 4, stages)


def test_unscored_epochs_do_not_count_as_scored():
    assert Night("night-1", {}, 3, [0, UNSCORED, UNSCORED]).n_scored == 1
    assert Night("night-1", {}, 3).n_scored == 0


def test_a_night_cannot_be_changed():
    night = make_night()
    with pytest.raises(AttributeError):
        night.record = "other"
    with pytest.raises(TypeError):
        night.signals["eeg1"] = None


def test_a_night_survives_pickling():
    night = pickle.loads(pickle.dumps(make_night()))
    assert night.signals["eeg1"].values.tolist() == make_night().signals["eeg1"].values.tolist()
    assert night.hours == 4 * 30 / 3600


class ReadCounter:
    fs_hz, unit, kind, n_samples = 250, "µV", "eeg", 30_000

    def __init__(self):
        self.n_reads = 0

    def load(self):
        self.n_reads += 1
        return Signal(np.zeros(self.n_samples, np.float32), self.fs_hz, self.unit, self.kind)

    def crop(self, start_s, stop_s):
        return self


def test_nothing_is_read_until_a_signal_is_asked_for_and_nothing_is_kept():
    counter = ReadCounter()
    night = Night("night-1", {"eeg1": counter}, 4)
    assert night.crop(1, 3).select(["eeg1"]).eeg_names == ("eeg1",)
    assert "eeg1" in night.signals
    assert night.signals.header("eeg1").n_samples == 30_000
    repr(night.signals)
    assert counter.n_reads == 0
    night.signals["eeg1"], night.signals["eeg1"]
    assert counter.n_reads == 2


def test_a_loaded_night_reads_no_more():
    counter = ReadCounter()
    night = Night("night-1", {"eeg1": counter}, 4).load()
    night.signals["eeg1"], night.crop(0, 2).signals["eeg1"]
    assert counter.n_reads == 1


def test_signals_of_signals_are_the_same_signals():
    signals = make_night().signals
    assert dict(Signals(signals).items()) == dict(signals.items())


def one_channel(fs_hz, kind, n_samples=10**6):
    return {kind: Signal(np.broadcast_to(np.float32(0), n_samples), fs_hz, "", kind)}


@pytest.mark.parametrize(("fs_hz", "kind"), [
    (333.33, "eeg"), (250.123, "eeg"), (99, "eeg"), (0, "eeg"), (-250, "eeg"), (np.nan, "eeg"), (np.inf, "eeg"),
    (9, "accelerometer"), (12.51, "accelerometer"), (np.nan, "accelerometer"),
])
def test_a_rate_that_cuts_epochs_within_a_sample_or_is_too_low_is_refused(fs_hz, kind):
    with pytest.raises(NightError, match=rf"night-1: expected {kind} at \d+ Hz or more, with whole samples in 30 s"):
        Night("night-1", one_channel(fs_hz, kind), 2)


@pytest.mark.parametrize(("fs_hz", "kind"), [
    (100, "eeg"), (250.1, "eeg"), (1000 / 3, "eeg"), (4096, "eeg"), (12.5, "accelerometer"), (51.2, "accelerometer"),
])
def test_any_rate_of_whole_samples_in_an_epoch_is_taken(fs_hz, kind):
    assert Night("night-1", one_channel(fs_hz, kind), 2).n_epochs == 2


def test_an_eeg_without_all_its_epochs_and_axes_of_two_rates_are_refused():
    with pytest.raises(NightError, match=r"night-1: expected 3 whole epochs of eeg, found 89\.996 s"):
        Night("night-1", one_channel(250, "eeg", 22_499), 3)
    axes = {f"accelerometer_{hz}": one_channel(hz, "accelerometer")["accelerometer"] for hz in (50, 100)}
    with pytest.raises(NightError, match="one rate for all axes of the accelerometer, found 50, 100 Hz"):
        Night("night-1", axes, 3)
