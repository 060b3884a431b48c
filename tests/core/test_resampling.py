"""Intervals draw whole groups, and pairs are compared group by group."""

from dataclasses import astuple

import numpy as np
import pytest

from dreem_case.core.agreement import EvaluationError, kappa
from dreem_case.core.resampling import bootstrap_over_groups, paired_difference


def test_an_interval_resamples_whole_groups():
    seen = []
    groups = ["a", "b", "b", "c", "c", "c"]

    def watch(rows):
        seen.append(sorted(rows.tolist()))
        return rows.mean()

    bootstrap_over_groups(watch, groups, np.arange(6), n_resamples=50)
    members = {"a": [0], "b": [1, 2], "c": [3, 4, 5]}
    for rows in seen:
        counts = {name: {rows.count(row) for row in own} for name, own in members.items()}
        assert all(len(count) == 1 for count in counts.values())
        assert sum(min(count) for count in counts.values()) == 3


def test_an_interval_of_a_mean_has_the_textbook_width():
    values = np.random.default_rng(3).normal(0, 1, 400)
    interval = bootstrap_over_groups(np.mean, range(400), values, n_resamples=2000)
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert interval.n_groups == 400


def test_an_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        interval = bootstrap_over_groups(np.mean, range(30), rng.normal(0, 1, 30), level=0.9, n_resamples=200)
        covered += interval.low <= 0 <= interval.high
    assert 0.82 <= covered / 200 <= 0.95


def test_an_interval_repeats_with_its_seed():
    values = np.random.default_rng(0).normal(size=7)
    once, again, other = (bootstrap_over_groups(np.mean, range(7), values, seed=seed) for seed in (1, 1, 2))
    assert once == again != other


def test_an_interval_of_nothing_is_nan():
    assert np.isnan(astuple(bootstrap_over_groups(np.mean, [], []))[:3]).all()
    undefined = bootstrap_over_groups(kappa, [0, 1], [3, 3], [3, 3], n_resamples=10)
    assert np.isnan([undefined.value, undefined.low, undefined.high]).all()


def test_an_interval_leaves_out_resamples_without_a_value():
    interval = bootstrap_over_groups(kappa, [0, 0, 1, 1], [0, 1, 2, 2], [0, 1, 2, 2], n_resamples=50)
    assert (interval.value, interval.low, interval.high) == pytest.approx((1, 1, 1))


def test_an_interval_reads_as_a_sentence_part():
    assert str(bootstrap_over_groups(np.mean, [0, 1], [0.5, 0.5])) == "0.50 (0.50 to 0.50, n = 2)"


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
        bootstrap_over_groups(np.mean, [1, 1, 2], [0, 0, 0, 0])
