"""Event detection AP: vectors that were computed by hand, a slow second implementation, and what must hold of any."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.events.metric import (
    EVENTS,
    TOLERANCES,
    EventsError,
    EventTable,
    average_precision,
    event_errors,
    event_table,
    match_events,
    mean_ap,
)


def test_the_vectors_that_were_computed_by_hand_come_out_exactly(real_data):
    cases = json.loads((real_data / "wrist_diary" / "metric_vectors.json").read_text(encoding="utf-8"))["cases"]
    assert len(cases) == 25
    for case in cases:
        found = mean_ap(event_table(case["truth"]), event_table(case["predictions"]), case["tolerances"] or TOLERANCES)
        assert found == pytest.approx(case["expected"], abs=1e-12), case["name"]


def slow_ap(truth, found, tolerance):
    """Say the definition again, row by row."""
    known = {series for series, *_ in truth}
    values = []
    for event in EVENTS:
        true = [(s, t) for s, e, t, *_ in truth if e == event]
        if not true:
            continue
        free, hits = set(true), []
        for series, kind, step, score in sorted(found, key=lambda row: (-row[3], row[2])):
            if kind != event or series not in known:
                continue
            reach = [(abs(t - step), t) for s, t in free if s == series and abs(t - step) < tolerance]
            if reach:
                free.remove((series, min(reach)[1]))
            hits.append((score, bool(reach)))
        value, before = 0.0, 0
        for score in sorted({score for score, _ in hits}, reverse=True):
            chosen = [hit for other, hit in hits if other >= score]
            value += (sum(chosen) - before) / len(true) * sum(chosen) / len(chosen)
            before = sum(chosen)
        values.append(value)
    return float(np.mean(values))


rows = st.tuples(st.sampled_from("abc"), st.sampled_from(EVENTS), st.integers(0, 60))
scores = st.sampled_from([0.1, 0.5, 0.9])
scored = st.tuples(st.sampled_from("abcd"), st.sampled_from(EVENTS), st.integers(0, 60), scores)


@given(st.lists(rows, min_size=1, max_size=12, unique=True), st.lists(scored, max_size=20), st.integers(1, 30))
def test_it_is_what_the_definition_says(truth, found, tolerance):
    if found:
        value = mean_ap(event_table(truth), event_table(found), [tolerance])
        assert value == pytest.approx(slow_ap(truth, found, tolerance), abs=1e-12)


@given(st.lists(rows, min_size=1, max_size=12, unique=True), st.lists(scored, min_size=1, max_size=20), st.randoms())
def test_the_order_of_rows_and_the_scale_of_scores_do_not_matter(truth, found, random):
    value = mean_ap(event_table(truth), event_table(found))
    shuffled = random.sample(found, len(found))
    assert mean_ap(event_table(truth), event_table(shuffled)) == pytest.approx(value, abs=1e-12)
    scaled = [(*row[:3], row[3] * 7 - 3) for row in found]
    assert mean_ap(event_table(truth), event_table(scaled)) == pytest.approx(value, abs=1e-12)
    assert 0 <= value <= 1


@given(st.lists(st.integers(0, 200), min_size=1, max_size=8, unique=True))
def test_the_truth_itself_is_perfect_and_finds_each_event_once(steps):
    truth = np.sort(np.array(steps, float))
    assert sorted(match_events(truth, truth, 1).tolist()) == list(range(len(truth)))
    assert average_precision(np.ones(len(truth), bool), np.ones(len(truth)), len(truth)) == 1


def test_a_detection_outside_of_events_that_are_far_apart_finds_the_nearest():
    truth = np.array([100.0, 5000.0])
    assert match_events(np.array([90.0, 5010.0, 110.0, 2550.0]), truth, 12).tolist() == [0, 1, -1, -1]


def test_the_tolerances_are_the_published_minutes():
    truth = event_table([("a", "onset", 1000)])
    for i, minutes in enumerate([1, 3, 5, 7.5, 10, 12.5, 15, 20, 25, 30]):
        at, closer = (event_table([("a", "onset", 1000 + minutes * 12 - step, 1.0)]) for step in (0, 1))
        assert mean_ap(truth, at) == pytest.approx((9 - i) / 10)
        assert mean_ap(truth, closer) == pytest.approx((10 - i) / 10)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(EventsError, match="columns of one length"):
        EventTable(np.array(["a"]), np.array(["onset"]), np.zeros(2), np.zeros(1))


def test_a_hostile_name_is_written_out():
    with pytest.raises(EventsError, match=r"onset or wakeup, found \['\\x1b"):
        event_table([("a", "\x1b[31m", 1)])


def test_a_night_without_a_detection_is_missed_and_one_too_many_is_invented():
    truth = event_table([("a", "onset", 1000), ("a", "onset", 18000), ("a", "wakeup", 6000)])
    found = event_table([("a", "onset", 1012, 0.9), ("a", "wakeup", 5952, 0.9), ("a", "wakeup", 24000, 0.9)])
    errors = event_errors(truth, found)
    assert (errors.mean("onset"), errors.mean("wakeup")) == (1, 4)
    assert (errors.n_missed("onset"), errors.n_missed("wakeup"), errors.n_invented) == (1, 0, 1)
    assert (errors.median("onset"), errors.median("wakeup")) == (1, 4)
    assert (errors.bias("onset"), errors.bias("wakeup")) == (1, -4)
    assert errors.by_series("onset") == {"a": 1}
    assert np.isnan(event_errors(truth, event_table([])).mean("onset"))


def test_a_detection_belongs_to_one_event_the_nearest_pair_first():
    truth = event_table([("a", "onset", 1000), ("a", "onset", 1100)])
    errors = event_errors(truth, event_table([("a", "onset", 1060, 0.9)]))
    assert np.array_equal(errors.minutes, [np.nan, -40 * 5 / 60], equal_nan=True)
    two = event_errors(truth, event_table([("a", "onset", 1060, 0.9), ("a", "onset", 1300, 0.5)]))
    assert (two.minutes.tolist(), two.n_invented) == ([25, pytest.approx(-40 * 5 / 60)], 0)
    far = event_errors(truth, event_table([("a", "onset", 1100 + 360 * 12, 0.9)]))  # six hours: of another night
    assert (far.n_missed("onset"), far.n_invented) == (2, 1)
