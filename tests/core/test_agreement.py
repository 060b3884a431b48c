"""Figures of agreement are the textbook's, and what is not scored never counts."""

import json
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from dreem_case.core.agreement import (
    EvaluationError,
    accuracy,
    balanced_accuracy,
    confusion,
    f1_per_class,
    kappa,
    macro_f1,
    near_transition,
    per_group,
)

LABELS = range(5)

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


def test_kappa_by_hand():
    # 35 of 50 alike: 0.7. By chance: half of 30 and half of 20, 0.5. So 0.2 of 0.5.
    truth = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    predicted = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    assert kappa(truth, predicted) == pytest.approx(0.4)


@pytest.mark.parametrize("pair", [([], []), ([-1], [2]), ([3, 3], [3, 3])])
def test_a_kappa_without_value_is_nan(pair):
    assert np.isnan(kappa(*pair))


def test_a_label_that_neither_side_uses_has_no_f1_and_one_that_is_missed_has_zero():
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
    by_group = per_group(kappa, ["b", "b", "a", "a", "a"], [0, 1, 0, 1, 0], [0, 1, 1, 0, -1])
    assert list(by_group.items()) == [("b", 1.0), ("a", -1.0)]
    assert per_group(len, [2, 2, 1], [0, 0, 0]) == {2: 2, 1: 1}


def test_arrays_of_another_length_than_the_groups_are_an_error():
    with pytest.raises(EvaluationError, match="expected one value per group entry"):
        per_group(len, [1, 1, 2], [0, 0])


# Scorers


def test_two_experts_on_healthy_nights_agree_at_the_published_level(real_data):
    records = json.loads((real_data / "dod_hypnograms" / "dodh.json").read_text())
    by_record = [[kappa(a, b) for a, b in combinations(scorers.values(), 2)] for scorers in records.values()]
    assert len(by_record) == 25
    assert np.mean([np.mean(pairs) for pairs in by_record]) == pytest.approx(0.70, abs=0.005)
    pairwise = [value for pairs in by_record for value in pairs]
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
