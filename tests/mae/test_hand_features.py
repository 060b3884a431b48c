"""Hand-made features of sixteen channels."""

import numpy as np
import pytest

from dreem_case.mae.features import features, log_spectra, needed_by_features
from dreem_case.mae.montage import MODALITIES, RATE, WIDTH

PLACE = {modality.name: i for i, modality in enumerate(MODALITIES)}
T = np.arange(WIDTH) / RATE


def quiet(n: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sixteen channels of noise, with a breath."""
    signals = np.random.default_rng(seed).normal(0, 0.3, (n, len(MODALITIES), WIDTH)).astype(np.float32)
    for name in ("RESP THORACIC", "RESP ABDOMINAL", "C-FLOW"):
        signals[:, PLACE[name]] += np.sin(2 * np.pi * 0.3 * T)
    return signals, np.ones(signals.shape[:2], bool)


@pytest.mark.parametrize("level", [0.0, 1e-12, 5.0])
def test_signals_that_do_not_move_give_numbers(level):
    signals = np.full((1, len(MODALITIES), WIDTH), level, np.float32)
    assert np.isfinite(features(signals, np.ones((1, len(MODALITIES)), bool)).to_numpy()).all()


def test_each_modality_that_is_absent_takes_its_own_features_and_no_others():
    needed = needed_by_features()
    names = features(*quiet(1)).columns
    for i, modality in enumerate(MODALITIES):
        own = np.array([name.startswith(f"{modality.name}: ") for name in names])
        assert own.any() and needed[i][own].all()
        between = needed[i] & ~own
        assert all(name.split(":")[0] in ("eyes", "belts", "effort") for name in names[between])
        assert not between.any() or modality.kind in ("eog", "effort", "flow")


def test_what_an_absent_row_holds_is_not_looked_at():
    signals, present = quiet()
    present[:, PLACE["SPO2"]] = False
    other = signals.copy()
    other[:, PLACE["SPO2"]] = 99
    np.testing.assert_array_equal(features(signals, present), features(other, present))


def test_an_epoch_is_described_by_itself_wherever_it_stands():
    signals, present = quiet(150)
    order = np.random.default_rng(1).permutation(150)
    np.testing.assert_allclose(
        features(signals, present).to_numpy()[order], features(signals[order], present[order]), atol=1e-5
    )


def test_a_rise_of_alpha_for_three_seconds_is_a_rise_and_one_of_a_second_is_less():
    signals, present = quiet(3)
    for i, seconds in ((1, 1), (2, 6)):
        burst = (T > 10) & (10 + seconds > T)
        signals[i, PLACE["EEG C3-M2"]] += 2 * burst * np.sin(2 * np.pi * 10 * T)
    rise = features(signals, present)["EEG C3-M2: alpha rise"]
    assert rise[2] > rise[1] + 0.3 and rise[2] > rise[0] + 0.5


def test_an_obstructive_apnea_stops_flow_and_not_effort_and_turns_the_belts():
    signals, present = quiet(2)
    stopped = (T > 8) & (T < 24)
    signals[1, PLACE["C-FLOW"]] -= stopped * np.sin(2 * np.pi * 0.3 * T)
    signals[1, PLACE["RESP ABDOMINAL"]] -= 2 * stopped * np.sin(2 * np.pi * 0.3 * T)
    calm, apnea = (row for _, row in features(signals, present).iterrows())
    assert apnea["C-FLOW: below half"] > calm["C-FLOW: below half"] + 0.2
    assert apnea["belts: least together"] < 0 < calm["belts: least together"]
    assert apnea["effort: without flow"] > calm["effort: without flow"]


def test_a_fall_of_saturation_is_told_from_a_climb():
    signals, present = quiet(2)
    signals[:, PLACE["SPO2"]] = np.stack([-T / 10, T / 10])
    found = features(signals, present)
    assert found["SPO2: fall"][0] > 2.5 > 0.5 > found["SPO2: fall"][1]
    assert found["SPO2: end"][0] < 0 < found["SPO2: end"][1]


def test_other_shapes_are_refused():
    signals, present = quiet()
    for wrong in ((signals[:, :15], present), (signals, present[:1]), (signals[..., :100], present)):
        with pytest.raises(ValueError, match="expected signals of shape"):
            features(*wrong)


def test_spectra_are_of_the_modality_and_unknown_where_it_is_absent():
    signals, present = quiet(2)
    present[1, 0] = False
    found = log_spectra(signals, present).reshape(2, len(MODALITIES), -1)
    assert np.isnan(found[1, 0]).all() and np.isfinite(found[0]).all() and np.isfinite(found[1, 1:]).all()
