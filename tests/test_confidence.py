"""Confidence: calibration is measured and mended, and the flag falls on the doubtful."""

import numpy as np
import pytest

from dreem_case.confidence import (
    fit_review_threshold,
    fit_temperature,
    needs_review,
    reliability,
    review_gain,
    temper,
)
from dreem_case.evaluate import EvaluationError


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
