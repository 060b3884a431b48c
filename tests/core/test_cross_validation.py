"""A group stays whole, and a model never sees the fold that it is judged on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.core.agreement import EvaluationError
from dreem_case.core.cross_validation import fit_folds, grouped_folds, leave_one_group_out, predict_out_of_fold


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


# The loop


group_and_fold = st.integers(2, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, n - 1), min_size=2, max_size=40).filter(lambda groups: len(set(groups)) > 1),
        st.permutations(range(n)),
    )
)


@given(group_and_fold)
def test_a_model_is_fitted_to_all_rows_outside_its_fold_and_to_no_other(drawn):
    groups, order = drawn
    folds = [order[group] // 2 for group in groups]
    if len(set(folds)) < 2:
        folds = groups
    held_out = []
    for inside, test in fit_folds(list, groups, folds):
        assert not {groups[i] for i in inside} & {groups[i] for i in test}
        assert sorted([*inside, *test]) == list(range(len(groups)))
        held_out += test.tolist()
    assert sorted(held_out) == list(range(len(groups)))


@given(st.lists(st.sampled_from("abcd"), min_size=2).filter(lambda groups: len(set(groups)) > 1))
def test_each_row_gets_the_prediction_of_the_model_without_it_in_the_order_of_the_rows(groups):
    def predict(inside, test):
        return [(int(row), frozenset(inside)) for row in test]

    for i, (row, inside) in enumerate(predict_out_of_fold(lambda inside: inside.tolist(), predict, groups)):
        assert row == i
        assert inside == {j for j, group in enumerate(groups) if group != groups[i]}


def test_a_fit_is_made_when_it_is_asked_for():
    fitted = []
    models = fit_folds(lambda inside: fitted.append(inside.tolist()), range(3))
    assert fitted == []
    next(models)
    assert fitted == [[1, 2]]


def test_a_row_without_its_prediction_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        predict_out_of_fold(list, lambda model, rows: rows[1:], ["a", "a", "b"])


def test_folds_that_do_not_fit_the_rows_are_an_error():
    with pytest.raises(EvaluationError, match="expected one fold per row, found 2 for 3 rows"):
        next(fit_folds(list, range(3), [0, 1]))
    with pytest.raises(EvaluationError, match="expected at least two groups, found 1"):
        predict_out_of_fold(list, lambda model, rows: rows, range(3), [0, 0, 0])
