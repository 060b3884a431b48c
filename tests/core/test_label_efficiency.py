"""Draws take people and not nights, and figures of draws are averaged by person."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.core.agreement import EvaluationError
from dreem_case.core.label_efficiency import Curve, draw_places, gain


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12), st.integers(1, 6), st.integers(0, 3))
def test_a_draw_takes_one_thing_of_each_of_so_many_people(people, size, seed):
    if size > len(set(people)):
        with pytest.raises(EvaluationError, match=f"expected at most {len(set(people))} people to draw, found {size}"):
            draw_places(people, size, 4, seed)
    else:
        draws = draw_places(people, size, 4, seed)
        assert len(draws) == 4 and draws == draw_places(people, size, 4, seed)
        assert draws[:2] == draw_places(people, size, 2, seed)
        assert all(len({people[i] for i in draw}) == len(draw) == size for draw in draws)


def test_everything_is_drawn_at_some_time_and_nobody_is_one_draw_of_nothing():
    people = ["a", "b", "a", "c", "b", "a"]
    assert {place for draw in draw_places(people, 1, 60) for place in draw} == set(range(6))
    assert draw_places(people, 0, 4) == [()]
    assert draw_places(people, 2, 3, seed=1) != draw_places(people, 2, 3, seed=2)


def test_a_curve_is_averaged_by_person_over_draws_and_nights():
    person = {"a1": "a", "a2": "a", "b1": "b"}
    curve = Curve({2: [{"a1": 0.2, "a2": 0.4, "b1": 0.9}, {"a1": 0.6, "a2": np.nan, "b1": 0.7}]}, person)
    assert curve.by_person(2) == pytest.approx({"a": 0.4, "b": 0.8})
    assert (curve.mean(2).value, curve.mean(2).n_groups) == (pytest.approx(0.6), 2)
    assert curve.spread(2) == pytest.approx(abs(0.5 - 0.65) / 2)
    assert curve.first(1).by_person(2) == pytest.approx({"a": 0.3, "b": 0.9})
    other = Curve({2: [{"a1": 0.1, "a2": 0.1, "b1": 0.2}]}, person)
    assert gain(curve, other, 2).value == pytest.approx(((0.4 - 0.1) + (0.8 - 0.2)) / 2)
