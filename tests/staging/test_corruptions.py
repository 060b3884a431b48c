"""Faults: what is taken away is gone, what is changed is changed there only, and the night itself stays as it was."""

import numpy as np
import pytest

from dreem_case.nights.night import Night, Signal
from dreem_case.staging.corruptions import (
    PLATEAU_UV,
    change_eeg,
    failing,
    faulty_versions,
    kappa_drops,
    keep_derivations,
    without_accelerometer,
)
from dreem_case.staging.features import night_features
from tests.staging.test_design_matrix import make_night

FS_HZ = 100


@pytest.fixture(scope="module")
def night():
    random = np.random.default_rng(0)
    signals = {
        name: Signal(random.normal(0, 30, 20 * 30 * FS_HZ).astype(np.float32), FS_HZ, "µV", "eeg")
        for name in ("eeg1", "eeg2", "eeg3")
    }
    return Night("night", signals, n_epochs=20)


@pytest.fixture(scope="module")
def versions(night):
    return faulty_versions(night, night_features(night))


def test_the_other_derivations_are_gone_and_the_order_stays():
    kept = keep_derivations(make_night(), ["eeg3", "eeg1"])
    assert kept.channel_names == ("eeg1", "eeg3")
    assert np.array_equal(kept.eeg, make_night().eeg[[0, 2]]) and kept.weights.shape == (2, 400)
    for names in ([], ["eeg9"]):
        with pytest.raises(ValueError, match="night: expected some of eeg1, eeg2, eeg3, found"):
            keep_derivations(make_night(), names)


def test_nothing_is_known_of_movement():
    assert np.isnan(without_accelerometer(make_night()).accelerometer).all()


def test_a_change_leaves_the_night_itself_alone(night):
    before = night.signals["eeg1"].values.copy()
    fallen = failing(night, ["eeg1"], 0.5, 0.2)
    assert np.array_equal(night.signals["eeg1"].values, before)
    off = fallen.signals["eeg1"].values == np.float32(PLATEAU_UV)
    assert np.flatnonzero(off)[0] == 30000 and off.sum() == 12000
    assert np.array_equal(fallen.signals["eeg2"].values, night.signals["eeg2"].values)
    louder = change_eeg(night, lambda name, values: values * (2 if name == "eeg2" else 1))
    assert np.array_equal(louder.signals["eeg2"].values, 2 * night.signals["eeg2"].values)


def test_every_kind_of_fault_has_its_versions(versions):
    counts = {fault: len(of_fault) for fault, of_fault in versions.items()}
    assert counts == {
        "gain": 3, "sign": 2, "part_night_failure": 1, "one_gone": 3, "one_left": 3, "no_accelerometer": 1
    }
    assert all(len(features.channel_names) == 2 for features in versions["one_gone"].values())
    (failed,) = versions["part_night_failure"].values()
    assert sorted((failed.weights == 0).mean(axis=1) > 0.2) == [False, True, True]


def test_features_that_no_gain_moves_stay(night, versions):
    whole = night_features(night)
    free = [not name.startswith("log_") for name in whole.eeg_feature_names]
    for features in (versions["gain"]["x2"], versions["sign"]["all"]):
        assert np.allclose(features.eeg[:, :, free], whole.eeg[:, :, free], atol=0.02)


def test_a_stager_that_minds_nothing_loses_nothing(night, versions):
    labels = np.resize([0, 2, 3, 4], 20)
    drops = kappa_drops(lambda features: labels, labels, night_features(night), versions)
    assert {loss for of_fault in drops.values() for loss in of_fault.values()} == {0}
