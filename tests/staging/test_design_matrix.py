"""Rows: scaling shrinks to references, channels fuse by quality, context stays within its run."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreem_case.staging import design_matrix as rows
from dreem_case.staging.features import NightFeatures

N_CHANNELS, N_FEATURES = 3, 2
EPOCHS_OF_3_H = 360


def make_night(seed=0, n_epochs=400, record="night"):
    """A night of three channels with two features, each channel with its own level."""
    random = np.random.default_rng(seed)
    eeg = random.normal(size=(N_CHANNELS, n_epochs, N_FEATURES)) + np.arange(N_CHANNELS)[:, None, None]
    return NightFeatures(
        record=record,
        channel_names=("eeg1", "eeg2", "eeg3"),
        eeg=eeg.astype(np.float32),
        eeg_feature_names=("log_delta", "sigma_share"),
        weights=random.uniform(0.6, 1, (N_CHANNELS, n_epochs)).astype(np.float32),
        quality=np.zeros((N_CHANNELS, n_epochs), np.int8),
        accelerometer=random.normal(size=(n_epochs, 1)).astype(np.float32),
        accelerometer_feature_names=("movement",),
    )


def with_channels(night, chosen):
    """Keep some channels, in the given order."""
    chosen = list(chosen)
    return replace(
        night,
        channel_names=tuple(night.channel_names[c] for c in chosen),
        eeg=night.eeg[chosen],
        weights=night.weights[chosen],
        quality=night.quality[chosen],
    )


@pytest.fixture
def maker():
    return rows.RowMaker.fit([make_night(1), make_night(2)])


# Scaling


def test_three_usable_hours_are_scaled_by_themselves_alone():
    values = np.random.default_rng(0).normal(5, 3, (EPOCHS_OF_3_H, 2))
    far = rows.Scale(np.full(2, 100.0), np.full(2, 9.0), 7.0)
    own = rows.scale_within_night(values, np.ones(EPOCHS_OF_3_H))
    assert np.allclose(rows.scale_within_night(values, np.ones(EPOCHS_OF_3_H), far), own, atol=1e-5)


def test_without_usable_signal_only_the_reference_counts():
    values = np.random.default_rng(0).normal(5, 3, (EPOCHS_OF_3_H, 2))
    reference = rows.Scale(np.array([4.0, 6.0]), np.array([2.0, 5.0]), 7.0)
    scaled = rows.scale_within_night(values, np.zeros(EPOCHS_OF_3_H), reference)
    expected = np.clip((values - reference.centre) / reference.spread, -rows.LIMIT, rows.LIMIT)
    assert np.allclose(scaled, expected, atol=1e-5)


@pytest.mark.parametrize("n_epochs", [60, 120, 240, 359])
def test_centre_and_spread_move_with_the_square_of_the_hours_from_the_reference_to_the_night(n_epochs):
    reference = rows.Scale(np.zeros(1), np.ones(1), 7.0)
    values = np.linspace(1, 3, n_epochs)[:, None]
    own = rows.measure_scale(values, np.ones(n_epochs))
    share = (n_epochs / EPOCHS_OF_3_H) ** 2
    expected = (values - share * own.centre) / own.spread**share
    assert np.abs(expected).max() < rows.LIMIT
    assert np.allclose(rows.scale_within_night(values, np.ones(n_epochs), reference), expected, atol=1e-5)


def test_epochs_of_low_weight_do_not_move_the_scale():
    values = np.random.default_rng(0).normal(0, 1, (400, 1))
    wild = values.copy()
    wild[:150] = 1000
    weights = np.where(np.arange(400) < 150, 0.1, 1.0)
    scale, wild_scale = rows.measure_scale(values, weights), rows.measure_scale(wild, weights)
    assert scale.centre == wild_scale.centre and scale.spread == wild_scale.spread


def test_a_feature_that_never_changes_is_scaled_to_zero():
    assert np.all(rows.scale_within_night(np.full((400, 1), 7.0), np.ones(400)) == 0)


@settings(max_examples=25, deadline=None)
@given(st.floats(-20, 20), st.floats(0.1, 10))
def test_offset_and_factor_of_a_channel_do_not_matter_over_a_whole_night(offset, factor):
    values = np.random.default_rng(0).normal(0, 1, (EPOCHS_OF_3_H, 2))
    one = rows.scale_within_night(values, np.ones(EPOCHS_OF_3_H))
    other = rows.scale_within_night(factor * values + offset, np.ones(EPOCHS_OF_3_H))
    assert np.allclose(one, other, atol=1e-4)


def test_an_unknown_channel_is_drawn_to_the_reference_of_all_channels():
    references = rows.reference_scales([make_night(1), make_night(2)])
    assert set(references) == {"", "eeg1", "eeg2", "eeg3"}
    centres = [references[name].centre for name in ("eeg1", "eeg2", "eeg3")]
    assert np.all(references[""].centre > np.min(centres, axis=0))
    assert np.all(references[""].centre < np.max(centres, axis=0))


# Channels


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(N_CHANNELS)))
def test_the_order_of_the_channels_does_not_matter(order):
    maker = rows.RowMaker.fit([make_night(1), make_night(2)])
    night = make_night()
    assert np.allclose(maker(with_channels(night, order)), maker(night), atol=1e-4)


@pytest.mark.parametrize("kept", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
def test_a_missing_channel_keeps_the_columns(maker, kept):
    night = make_night()
    made = maker(with_channels(night, kept))
    assert made.shape == (night.n_epochs, len(maker.columns))
    assert np.isfinite(made).all()


def test_a_gain_changes_no_row_of_a_whole_night(maker):
    night = make_night()
    louder = replace(night, eeg=night.eeg + np.array([np.log10(2), 0], np.float32))
    assert np.allclose(maker(louder), maker(night), atol=1e-4)


def test_a_channel_without_weight_counts_for_nothing(maker):
    night = make_night()
    weights = night.weights.copy()
    weights[1] = 0
    eeg = night.eeg.copy()
    eeg[1] = np.nan
    silent = replace(night, eeg=eeg, weights=weights)
    assert np.allclose(maker(silent), maker(with_channels(night, (0, 2))), atol=1e-4)


def test_a_channel_that_fails_for_a_while_leaves_the_other_epochs_alone(maker):
    night = make_night()
    weights, eeg = night.weights.copy(), night.eeg.copy()
    weights[1, 200:220], eeg[1, 200:220] = 0, np.nan
    made = maker(replace(night, eeg=eeg, weights=weights))
    assert np.isfinite(made).all()
    own = slice(0, N_FEATURES)
    assert np.abs(made[:190, own] - maker(night)[:190, own]).max() < 0.2  # the scale moves a little


def test_without_accelerometer_its_columns_hold_the_training_medians(maker):
    night = make_night()
    absent = replace(night, accelerometer=np.full_like(night.accelerometer, np.nan))
    column = maker.columns.index("movement")
    assert np.allclose(maker(absent)[:, column], maker.accelerometer_typical, atol=1e-6)


def test_other_features_are_refused_with_their_names(maker):
    renamed = replace(make_night(record="odd"), eeg_feature_names=("log_theta", "sigma_share"))
    with pytest.raises(rows.FeaturesDiffer, match=r"odd: expected the 2 EEG features.*log_delta, log_theta"):
        maker(renamed)
    swapped = replace(make_night(), eeg_feature_names=("sigma_share", "log_delta"))
    many = replace(make_night(), eeg_feature_names=tuple(f"f{i}" for i in range(300)))
    with pytest.raises(rows.FeaturesDiffer, match=r"found 300 that differ in: f0, f1, f10, f100 and 298 more$"):
        maker(many)
    with pytest.raises(rows.FeaturesDiffer, match="only their order"):
        maker(swapped)


# Context


def test_context_does_not_cross_a_gap():
    random = np.random.default_rng(0)
    values, other = random.normal(size=(60, 2)), random.normal(size=(60, 2))
    gap = np.isin(np.arange(60), [30, 31])
    other[:32] = values[:32]
    made, changed = (rows.add_context(v, np.ones(60), gap) for v in (values, other))
    assert np.array_equal(made[:30], changed[:30])
    assert not np.allclose(made[32:], changed[32:])


def test_context_of_a_night_knows_nothing_of_the_next():
    first, second = np.random.default_rng(0).normal(size=(2, 40, 2))
    both = np.concatenate([first, second])
    alone = rows.add_context(first, np.ones(40))
    joined = rows.add_context(both, np.ones(80))[:40]
    assert np.allclose(alone[: 40 - max(rows.REACHES)], joined[: 40 - max(rows.REACHES)], atol=1e-5)
    assert not np.allclose(alone[-1], joined[-1])  # which is why every night gets its own call


def test_context_reaches_as_far_as_it_says():
    impulse = np.zeros((41, 1))
    impulse[20] = 1
    made = rows.add_context(impulse, np.ones(41))
    for column, reach in enumerate(rows.REACHES, start=1):
        assert np.flatnonzero(made[:, column]).tolist() == list(range(20 - reach, 20 + reach + 1))


def test_an_epoch_without_signal_is_filled_from_its_neighbours():
    values = np.full((30, 1), 3.0)
    values[10:13] = np.nan
    weight = np.where(np.isnan(values[:, 0]), 0, 1)
    assert np.allclose(rows.fill_missing(values, weight), 3.0)
    assert np.all(rows.fill_missing(np.full((5, 1), np.nan), np.zeros(5)) == 0)


# Tables from matrices


def test_missing_epochs_become_gaps_of_the_right_length():
    table = rows.table_from_matrix("night", np.ones((4, 2)), ["a", "b"], np.array([2, 3, 7, 8]))
    assert table.n_epochs == 9
    assert np.flatnonzero(table.weights[0]).tolist() == [2, 3, 7, 8]
    assert (table.quality[0] == rows.NOT_RECORDED).sum() == 5


@pytest.mark.parametrize("epochs", [[1, 0], [0, 0], [-1, 0], [0]])
def test_epoch_numbers_that_do_not_rise_are_refused(epochs):
    with pytest.raises(ValueError, match="night: expected 2 rising epoch numbers"):
        rows.table_from_matrix("night", np.ones((2, 1)), ["a"], np.array(epochs))


def test_bins_enter_with_their_level_against_the_median_bin():
    bins_db = np.random.default_rng(0).normal(size=(5, 18))
    table = rows.table_from_bins("night", bins_db)
    assert np.allclose(table.eeg[0, :, :18], bins_db, atol=1e-6)
    assert np.allclose(np.median(table.eeg[0, :, 18:], axis=1), 0, atol=1e-6)
