"""Intervals leave out whole groups, and pairs are compared group by group."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dreem_case.core.agreement import EvaluationError, kappa
from dreem_case.core.resampling import interval_over_groups, paired_difference


def test_an_interval_leaves_out_whole_groups():
    seen = []
    groups = ["a", "b", "b", "c", "c", "c"]

    def watch(rows):
        seen.append(rows.tolist())
        return rows.mean()

    interval_over_groups(watch, groups, np.arange(6))
    assert seen == [[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [0, 3, 4, 5], [0, 1, 2]]


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_an_interval_of_a_mean_is_that_of_the_t_test(values):
    interval = interval_over_groups(np.mean, range(len(values)), values)
    reach = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    assert (interval.value, interval.n_groups) == (pytest.approx(np.mean(values)), len(values))
    assert (interval.low, interval.high) == pytest.approx((interval.value - reach, interval.value + reach), abs=1e-9)


def test_an_interval_of_seven_nights_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = {"mean of nights": 0, "pooled": 0}
    for _ in range(500):
        nights, sizes = rng.normal(0.7, 0.08, 7), rng.integers(300, 900, 7)
        found = interval_over_groups(np.mean, range(7), nights)
        held["mean of nights"] += found.low <= 0.7 <= found.high
        right = np.concatenate([np.arange(n) < share * n for n, share in zip(sizes, nights, strict=True)])
        found = interval_over_groups(np.mean, np.repeat(range(7), sizes), right)
        held["pooled"] += found.low <= 0.7 <= found.high
    assert {name: 0.92 <= n / 500 <= 0.98 for name, n in held.items()} == dict.fromkeys(held, True)


def test_an_interval_of_nothing_is_nan_and_one_group_gives_no_interval():
    assert np.isnan(astuple(interval_over_groups(np.mean, [], []))[:3]).all()
    undefined = interval_over_groups(kappa, [0, 1], [3, 3], [3, 3])
    assert np.isnan([undefined.value, undefined.low, undefined.high]).all()
    alone = interval_over_groups(np.mean, [0, 0], [1.0, 2.0])
    assert alone.value == 1.5
    assert np.isnan([alone.low, alone.high]).all()


def test_an_interval_leaves_out_what_has_no_value():
    interval = interval_over_groups(kappa, [0, 0, 1, 1, 2, 2], [0, 1, 2, 2, 0, 1], [0, 1, 2, 2, 0, 1])
    assert (interval.value, interval.low, interval.high) == pytest.approx((1, 1, 1))


def test_an_interval_reads_as_a_sentence_part():
    assert str(interval_over_groups(np.mean, [0, 1], [0.5, 0.5])) == "0.50 (0.50 to 0.50, n = 2)"


def test_paired_differences_go_by_group_and_cancel_what_is_common():
    b = {f"n{i}": value for i, value in enumerate(np.random.default_rng(0).normal(0, 1, 7))}
    a = {group: value + 0.1 for group, value in reversed(b.items())}
    difference = paired_difference(a, b)
    assert difference.per_group == pytest.approx(dict.fromkeys(b, 0.1))
    assert astuple(difference.mean)[:3] == pytest.approx((0.1, 0.1, 0.1))
    back = paired_difference(b, a)
    assert back.mean.value == pytest.approx(-difference.mean.value)


def test_a_pair_without_value_is_left_out_of_the_mean_and_kept_in_the_list():
    difference = paired_difference({"a": 1.0, "b": float("nan")}, {"a": 0.5, "b": 0.5})
    assert difference.mean.n_groups == 1
    assert difference.mean.value == pytest.approx(0.5)
    assert np.isnan(difference.per_group["b"])


def test_unpaired_groups_are_an_error():
    with pytest.raises(EvaluationError, match=r"on one side only: \['b', 'c'\]"):
        paired_difference({"a": 1, "b": 1}, {"a": 1, "c": 1})


def test_arrays_of_another_length_than_the_groups_are_an_error():
    with pytest.raises(EvaluationError, match="expected one value per group entry, found 4 for 3"):
        interval_over_groups(np.mean, [1, 1, 2], [0, 0, 0, 0])
