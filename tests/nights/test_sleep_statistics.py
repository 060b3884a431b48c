"""A night's report adds up, and two ways of measuring it are compared by their differences."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.core.agreement import EvaluationError
from dreem_case.nights.sleep_statistics import bland_altman, sleep_statistics

LABELS = range(5)
codes = st.integers(-1, 4)


def statistics(stages):
    return sleep_statistics(stages, wake=0, rem=4, labels=LABELS)


def test_sleep_statistics_by_hand():
    # 5 min awake, 10 min N1 and N2, 2 min awake, 3 min REM, 1 min awake, in epochs of 30 s
    stages = [0] * 10 + [1] * 4 + [2] * 16 + [0] * 4 + [4] * 6 + [0] * 2
    found = statistics(stages)
    assert found.recorded_min == 21
    assert found.sleep_min == 13
    assert found.efficiency == pytest.approx(13 / 21)
    assert found.onset_latency_min == 5
    assert found.waso_min == 3
    assert found.rem_latency_min == 12
    assert found.stage_min == {0: 8, 1: 2, 2: 8, 3: 0, 4: 3}


@given(st.lists(codes, max_size=60))
def test_recorded_time_is_latency_plus_sleep_plus_wake_after_onset(stages):
    found = statistics(stages)
    scored_min = sum(stage >= 0 for stage in stages) / 2
    assert found.recorded_min == sum(found.stage_min.values()) == scored_min
    assert found.sleep_min == scored_min - found.stage_min[0]
    if found.sleep_min:
        assert found.onset_latency_min + found.sleep_min + found.waso_min == scored_min
        assert found.efficiency == pytest.approx(found.sleep_min / scored_min)
    else:
        assert np.isnan(found.onset_latency_min)
        assert np.isnan(found.waso_min)
    assert np.isnan(found.rem_latency_min) == (4 not in stages)


@given(st.lists(codes, max_size=40), st.integers(0, 5))
def test_unscored_epochs_change_no_sleep_statistic(stages, n_unscored):
    *others, unscored_min = astuple(statistics([*stages, *[-1] * n_unscored]))
    assert repr(others) == repr([*astuple(statistics(stages))][:-1])
    assert unscored_min == (n_unscored + stages.count(-1)) / 2


def test_a_night_without_sleep_has_no_latencies():
    found = statistics([0] * 10)
    assert (found.sleep_min, found.efficiency) == (0, 0)
    assert np.isnan([found.onset_latency_min, found.waso_min, found.rem_latency_min]).all()
    assert np.isnan(statistics([]).efficiency)


def test_other_codes_and_epoch_lengths_serve_as_well():
    found = sleep_statistics([9, 1, 1, 7], wake=9, rem=7, labels=[1, 7, 9], epoch_s=60)
    assert (found.sleep_min, found.onset_latency_min, found.rem_latency_min) == (3, 1, 2)


# Two measurements of one thing


def test_bland_altman_by_hand():
    agreement = bland_altman([10, 20, 30, 40], [12, 20, 33, 43])
    assert agreement.bias == pytest.approx(2)
    sd = np.sqrt((0 + 4 + 1 + 1) / 3)
    assert (agreement.low, agreement.high) == pytest.approx((2 - 1.96 * sd, 2 + 1.96 * sd))
    assert agreement.means.tolist() == [11, 20, 31.5, 41.5]
    assert agreement.differences.tolist() == [2, 0, 3, 3]


def test_bland_altman_needs_pairs():
    one = bland_altman([10, float("nan"), 3], [12, 1, float("nan")])
    assert one.bias == 2
    assert np.isnan([one.low, one.high]).all()
    assert np.isnan(bland_altman([], []).bias)
    with pytest.raises(EvaluationError, match="expected pairs"):
        bland_altman([1, 2], [1])
