import json
import os
from dataclasses import astuple
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from dreem_case.core.agreement import (
    EvaluationError,
    accuracy,
    balanced_accuracy,
    bland_altman,
    confusion,
    f1_per_class,
    grouped_folds,
    interval_over_groups,
    kappa,
    kappa_per_group,
    leave_one_group_out,
    macro_f1,
    near_transition,
    paired_difference,
    per_group,
    scorer_agreement,
    sleep_statistics,
)

LABELS = range(5)
DODH = Path(os.environ.get("DREEM_CASE_DATA", Path(__file__).parents[2] / "../shared/data"), "dod_hypnograms/dodh.json")

codes = st.integers(-1, 4)
pairs = st.lists(st.tuples(codes, codes), max_size=60).map(lambda rows: np.array(rows, int).reshape(-1, 2).T)


def scored(truth, predicted):
    both = (truth >= 0) & (predicted >= 0)
    return truth[both], predicted[both]


# Agreement


@given(pairs)
def test_the_figures_are_those_of_scikit_learn(pair):
    truth, predicted = scored(*pair)
    if len(truth) == 0:
        return
    seen = np.union1d(truth, predicted)
    assert (confusion(*pair, LABELS) == metrics.confusion_matrix(truth, predicted, labels=LABELS)).all()
    assert accuracy(*pair) == pytest.approx(metrics.accuracy_score(truth, predicted))
    f1 = metrics.f1_score(truth, predicted, labels=seen, average=None, zero_division=0)
    assert f1_per_class(*pair, LABELS)[seen] == pytest.approx(f1)
    assert macro_f1(*pair, LABELS) == pytest.approx(np.mean(f1))
    recall = metrics.recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    assert balanced_accuracy(*pair, LABELS) == pytest.approx(recall)
    if len(seen) > 1:
        assert kappa(*pair) == pytest.approx(metrics.cohen_kappa_score(truth, predicted))


@given(pairs)
def test_epochs_that_one_side_did_not_score_never_count(pair):
    kept = scored(*pair)
    assert (confusion(*pair, LABELS) == confusion(*kept, LABELS)).all()
    for figure in kappa, accuracy:
        assert figure(*pair) == pytest.approx(figure(*kept), nan_ok=True)


@given(pairs, st.permutations(LABELS))
def test_kappa_does_not_depend_on_the_codes_or_the_sides(pair, renamed):
    names = np.array([*renamed, -1])
    assert kappa(*names[pair]) == pytest.approx(kappa(*pair), nan_ok=True)
    assert kappa(*pair[::-1]) == pytest.approx(kappa(*pair), nan_ok=True)


def test_kappa_by_hand():
    # 35 of 50 alike: 0.7. By chance: half of 30 and half of 20, 0.5. So 0.2 of 0.5.
    truth = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    predicted = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    assert kappa(truth, predicted) == pytest.approx(0.4)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=50), st.integers(0, 4))
def test_one_constant_answer_earns_a_kappa_of_zero(truth, constant):
    value = kappa(truth, [constant] * len(truth))
    assert value == pytest.approx(0) if set(truth) != {constant} else np.isnan(value)


def test_an_independent_guess_has_a_kappa_near_zero():
    rng = np.random.default_rng(0)
    assert abs(kappa(rng.integers(0, 5, 50_000), rng.choice(5, 50_000, p=[0.1, 0.1, 0.4, 0.2, 0.2]))) < 0.02


@given(st.lists(st.integers(0, 4), min_size=2, max_size=50).filter(lambda stages: len(set(stages)) > 1))
def test_a_perfect_answer_has_a_kappa_of_one(stages):
    assert kappa(stages, stages) == pytest.approx(1)


@pytest.mark.parametrize("pair", [([], []), ([-1], [2]), ([3, 3], [3, 3])])
def test_a_kappa_without_value_is_nan(pair):
    assert np.isnan(kappa(*pair))


def test_a_stage_that_neither_side_uses_has_no_f1_and_one_that_is_missed_has_zero():
    f1 = f1_per_class([0, 1, 1], [0, 0, 0], LABELS)
    assert f1[:2] == pytest.approx([0.5, 0])
    assert np.isnan(f1[2:]).all()
    assert macro_f1([0, 1, 1], [0, 0, 0], LABELS) == pytest.approx(0.25)
    assert balanced_accuracy([0, 1, 1], [0, 0, 0], LABELS) == pytest.approx(0.5)
    for figure in macro_f1, balanced_accuracy:
        assert np.isnan(figure([], [], LABELS))


def test_the_confusion_matrix_has_truth_in_rows_in_the_order_of_the_labels():
    assert confusion([7, 7, 3], [3, 7, 3], labels=[7, 3]).tolist() == [[1, 1], [0, 1]]
    assert confusion([], [], labels=[7, 3]).tolist() == [[0, 0], [0, 0]]


def test_a_label_outside_the_list_is_an_error():
    with pytest.raises(EvaluationError, match=r"expected labels among \[0, 1\], found \[5, 6\]"):
        confusion([0, 6], [1, 5], labels=[0, 1])


@pytest.mark.parametrize("pair", [([0, 1], [0]), ([[0]], [[0]]), (0, 0)])
def test_labels_of_unequal_length_or_shape_are_an_error(pair):
    with pytest.raises(EvaluationError, match="expected two rows of labels of one length"):
        kappa(*pair)


# Groups


def test_figures_by_group_keep_the_order_in_which_groups_appear():
    by_group = kappa_per_group([0, 1, 0, 1, 0], [0, 1, 1, 0, -1], ["b", "b", "a", "a", "a"])
    assert list(by_group.items()) == [("b", 1.0), ("a", -1.0)]
    assert per_group(len, [2, 2, 1], [0, 0, 0]) == {2: 2, 1: 1}


@given(st.permutations(range(6)))
def test_the_order_of_the_nights_changes_nothing_but_the_order(order):
    rng = np.random.default_rng(0)
    nights = [(rng.integers(0, 3, 40), rng.integers(0, 3, 40)) for _ in range(6)]
    expected = {night: kappa(*pair) for night, pair in enumerate(nights)}
    truth, predicted = np.concatenate([nights[night] for night in order], axis=1)
    assert kappa_per_group(truth, predicted, np.repeat(order, 40)) == expected
    everything = np.concatenate(nights, axis=1)
    assert kappa(truth, predicted) == pytest.approx(kappa(*everything))


def test_arrays_of_another_length_than_the_groups_are_an_error():
    with pytest.raises(EvaluationError, match="expected one value per group entry"):
        per_group(len, [1, 1, 2], [0, 0])
    with pytest.raises(EvaluationError):
        interval_over_groups(np.mean, [1, 1, 2], [0, 0, 0, 0])


@given(st.lists(st.sampled_from("abcd"), min_size=2).filter(lambda groups: len(set(groups)) > 1))
def test_each_group_is_held_out_once_and_never_trained_on(groups):
    held_out = []
    for group, train, test in leave_one_group_out(groups):
        assert {groups[i] for i in test} == {group}
        assert group not in {groups[i] for i in train}
        assert sorted([*train, *test]) == list(range(len(groups)))
        held_out.append(group)
    assert held_out == list(dict.fromkeys(groups))


def test_one_group_cannot_be_held_out():
    with pytest.raises(EvaluationError, match="expected at least two groups, found 1"):
        list(leave_one_group_out(["a", "a"]))


def test_folds_hold_out_all_of_their_groups():
    groups = np.repeat(np.arange(6), 2)
    splits = list(grouped_folds(groups, groups % 3))
    assert [fold for fold, _, _ in splits] == [0, 1, 2]
    for fold, train, test in splits:
        assert set(groups[test]) == {fold, fold + 3}
        assert not set(groups[train]) & set(groups[test])


def test_a_group_in_two_folds_is_an_error():
    with pytest.raises(EvaluationError, match=r"found these in several: \['b'\]"):
        list(grouped_folds(["a", "b", "b"], [0, 0, 1]))
    with pytest.raises(EvaluationError, match="expected one fold per row, found 1 for 2 rows"):
        list(grouped_folds(["a", "b"], [0]))


# Intervals


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


# Scorers


def test_scorers_agree_by_the_mean_of_their_pairs():
    three = {"x": [0, 1, 0, 1], "y": [0, 1, 0, 1], "z": [1, 0, 1, 0]}
    assert scorer_agreement({"r": three}) == {"r": pytest.approx((1 - 1 - 1) / 3)}
    assert np.isnan(scorer_agreement({"r": {"x": [0, 1]}})["r"])


@pytest.mark.skipif(not DODH.is_file(), reason="no DOD-H hypnograms under DREEM_CASE_DATA")
def test_two_experts_on_healthy_nights_agree_at_the_published_level():
    records = json.loads(DODH.read_text())
    by_record = scorer_agreement(records)
    assert len(by_record) == 25
    assert np.mean(list(by_record.values())) == pytest.approx(0.70, abs=0.005)
    pairwise = [kappa(a, b) for scorers in records.values() for a, b in combinations(scorers.values(), 2)]
    assert np.std(pairwise) == pytest.approx(0.14, abs=0.005)


# Transitions


@given(st.lists(codes, max_size=40), st.integers(1, 4))
def test_an_epoch_is_near_a_transition_if_a_change_is_within_reach(stages, within):
    near = near_transition(stages, within)
    changes = [
        i + 0.5 for i, (a, b) in enumerate(pairwise(stages)) if a != b and min(a, b) >= 0
    ]
    for epoch, stage in enumerate(stages):
        reached = any(abs(epoch - change) < within for change in changes)
        assert near[epoch] == (stage >= 0 and reached)


def test_a_change_of_night_is_no_transition():
    assert not near_transition([0, 0, 2, 2], groups=["a", "a", "b", "b"]).any()
    assert near_transition([0, 2, 2, 2], 3, groups=["a", "a", "b", "b"]).tolist() == [True, True, False, False]


# Sleep statistics


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
    with_end = astuple(statistics([*stages, *[-1] * n_unscored]))
    assert repr(with_end) == repr(astuple(statistics(stages)))


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
