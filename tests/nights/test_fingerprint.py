"""A recording is known by its signals, whatever its name, its length or its storage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreem_case.nights.fingerprint import MIN_SHARED, kept_together, same_recordings, signal_pieces


def noise(seed, n=2_000_000, step=0.0):
    values = np.random.default_rng(seed).normal(0, 20, n).astype(np.float32)
    return np.round(values / step) * step if step else values


@pytest.mark.parametrize("step", [0, 1, 0.25, 8])
def test_a_cut_at_any_sample_shares_its_pieces_and_another_night_none(step):
    whole, other = noise(0, step=step), noise(1, step=step)
    pieces = signal_pieces(whole)
    cut = signal_pieces(whole[777_777:1_500_001])
    assert len(cut) >= MIN_SHARED
    assert np.isin(cut, pieces).all()
    assert not np.isin(signal_pieces(other), pieces).any()


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 400_000), st.integers(1_000_000, 1_600_000))
def test_any_cut_is_found(start, length):
    pieces = [signal_pieces(noise(seed)) for seed in (0, 1)]
    cut = signal_pieces(noise(0)[start : start + length])
    assert same_recordings([*pieces, cut]) == [[0, 2]]


FLAT = [np.zeros(10**6), np.full(10**6, 6e5), np.full(10**6, np.nan), np.resize([1, 2], 10**6)]


@pytest.mark.parametrize("values", FLAT)
def test_what_is_flat_has_no_pieces(values):
    assert len(signal_pieces(values)) == 0
    assert len(signal_pieces(values[:5])) == 0


def test_what_belongs_to_either_of_two_belongs_to_both():
    a, b = np.arange(10, dtype=np.uint64), np.arange(8, 30, dtype=np.uint64)
    assert same_recordings([a, b]) == []  # two pieces may be chance
    bridge = np.arange(5, 15, dtype=np.uint64)
    assert same_recordings([a, b, bridge, np.zeros(0, np.uint64)]) == [[0, 1, 2]]
    assert same_recordings([]) == []


def test_folds_keep_a_recording_together():
    assert kept_together([3, 1, 2, 0], [[0, 2], [1, 3]]) == [3, 1, 3, 1]
