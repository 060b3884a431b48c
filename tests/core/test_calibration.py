"""Confidence: calibration is measured and mended, and the flag falls on the doubtful."""

import numpy as np
import pytest

from dreem_case.core.agreement import EvaluationError
from dreem_case.core.calibration import (
    errors_met,
    fit_review_threshold,
    fit_temperature,
    needs_review,
    performance,
    reliability,
    review_gain,
    temper,
)


@pytest.fixture(scope="module")
def honest():
    """Labels drawn from the probabilities themselves."""
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(5, 0.4), 20000)
    labels = (probabilities.cumsum(axis=1) > random.random((20000, 1))).argmax(axis=1)
    return labels, probabilities


def test_honest_probabilities_have_almost_no_error(honest):
    assert reliability(*honest).error < 0.01


def test_the_error_is_the_one_computed_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45]])
    result = reliability([0, 1, 0], probabilities)
    assert result.counts.sum() == 3 and np.isnan(result.said).sum() == 13
    assert result.error == pytest.approx((2 * abs(0.95 - 0.5) + abs(0.55 - 1)) / 3)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_found(honest, temperature):
    labels, probabilities = honest
    assert fit_temperature(labels, temper(probabilities, 1 / temperature)) == pytest.approx(temperature, rel=0.05)


def test_unscored_epochs_do_not_count(honest):
    labels, probabilities = honest
    partly = np.where(np.arange(len(labels)) < 5000, -1, labels)
    assert fit_temperature(partly, probabilities) == fit_temperature(labels[5000:], probabilities[5000:])
    assert reliability(partly, probabilities).counts.sum() == 15000
    with pytest.raises(EvaluationError, match="0 scored of 2"):
        reliability([-1, -1], np.ones((2, 5)) / 5)
    with pytest.raises(EvaluationError, match="expected scored epochs"):
        reliability([0, 1], np.ones((3, 5)) / 5)


def test_a_temperature_above_one_is_milder_and_one_below_is_bolder():
    for temperature, expected in ((2, [2 / 3, 1 / 3]), (1, [0.8, 0.2]), (0.5, [16 / 17, 1 / 17])):
        assert temper(np.array([[0.8, 0.2]]), temperature) == pytest.approx(np.array([expected]))


def test_a_sure_zero_survives_the_temperature():
    tempered = temper(np.array([[1.0, 0, 0, 0, 0]]), 3)
    assert np.isfinite(tempered).all() and tempered.argmax() == 0


def test_the_flag_takes_its_share_and_the_rest_is_better(honest):
    labels, probabilities = honest
    threshold = fit_review_threshold(probabilities, 0.2)
    flagged = needs_review(probabilities, threshold)
    assert flagged.mean() == pytest.approx(0.2, abs=0.001)
    assert review_gain(labels, probabilities.argmax(axis=1), flagged) > 5
    assert np.isnan(review_gain(labels, labels, np.ones(len(labels), bool)))


def test_errors_of_honest_probabilities_lie_among_the_doubtful(honest):
    met = errors_met(*honest, [0, 0.2, 0.5, 1])
    assert met[0] == 0 and met[-1] == 1
    assert 0.25 < met[1] < met[2] < 1
    certain = np.eye(5)[honest[0]]
    assert np.isnan(errors_met(honest[0], certain, [0.2])).all()


def test_performance_leaves_out_what_is_not_scored_and_nights_without_a_kappa(honest):
    labels, probabilities = honest
    flagged = needs_review(probabilities, fit_review_threshold(probabilities, 0.2))
    whole = performance([labels], [probabilities], [flagged])
    assert whole["flagged_share"] == pytest.approx(0.2, abs=0.01)
    assert whole["review_gain"] == review_gain(labels, probabilities.argmax(axis=1), flagged)
    unscored, one_stage = np.full(50, -1), np.zeros(50, int)
    more = performance([labels, unscored], [probabilities, probabilities[:50]], [flagged, np.ones(50, bool)])
    assert {name: more[name] for name in ("ece", "macro_f1", "flagged_share", "kappa_per_night_mean")} == {
        name: whole[name] for name in ("ece", "macro_f1", "flagged_share", "kappa_per_night_mean")
    }
    single = performance([one_stage], [np.eye(5)[one_stage]], [np.zeros(50, bool)])
    assert np.isnan(single["kappa_per_night_mean"]) and single["ece"] == 0
    with pytest.raises(EvaluationError, match="expected scored epochs"):
        performance([unscored], [probabilities[:50]], [np.ones(50, bool)])
