"""What a probe may and may not know, and how it is judged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreem_case.core.agreement import EvaluationError
from dreem_case.mae.embedding_study import (
    ALL,
    EVENT_KINDS,
    Side,
    Way,
    event_auroc,
    learn,
    pca_rows,
    probe_figures,
    stage_kappa,
    stage_kappas,
)
from dreem_case.mae.probes import KINDS, auroc, average_precision, check_sides, fit_probe, judge


def made_up(patients, seed: int, n: int = 60) -> Side:
    """Rows of which one set knows stage and events, and the others nothing."""
    random = np.random.default_rng(seed)
    patient = np.repeat(patients, n)
    stage, event = random.integers(0, 5, len(patient)), random.integers(0, 2, len(patient))
    known = np.concatenate([np.eye(5)[stage], event[:, None]], axis=1) + random.normal(0, 0.6, (len(patient), 6))
    rows = {name: random.normal(0, 1, known.shape) for name in ("random 0", "spectra")} | {"hand": known, "both": known}
    rows["embedding"] = rows["random 0"] + 1
    return Side(rows, {"stage": stage, **{kind: event.copy() for kind in EVENT_KINDS}}, patient)


def rows_and_codes(n: int = 300, n_classes: int = 3, seed: int = 0):
    random = np.random.default_rng(seed)
    codes = random.integers(0, n_classes, n)
    return (np.eye(n_classes)[codes] * 2 + random.normal(0, 1, (n, n_classes))).astype(np.float32), codes


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_of_a_row_does_not_depend_on_the_rows_beside_it(kind):
    rows, codes = rows_and_codes()
    probe = fit_probe(rows[:200], codes[:200], 3, kind)
    alone = probe(rows[200:210])
    beside = probe(np.concatenate([rows[200:210], 50 + rows[210:]]))[:10]
    np.testing.assert_allclose(alone, beside, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_is_never_known_and_one_that_is_unknown_at_times_do_no_harm(kind):
    rows, codes = rows_and_codes()
    rows = np.pad(rows, ((0, 0), (0, 2)), constant_values=1)
    rows[:, -2] = np.nan
    rows[::5, 0] = np.nan
    said = fit_probe(rows[:200], codes[:200], 3, kind)(rows[200:])
    assert np.isfinite(said).all()
    assert judge(codes[200:], said, "abc").kappa > 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_nobody_showed_is_never_said_and_one_alone_is_always(kind):
    rows, codes = rows_and_codes()
    assert fit_probe(rows, codes, 5, kind)(rows).shape == (300, 5)
    assert (fit_probe(rows, np.full(300, 2), 5, kind)(rows).argmax(axis=1) == 2).all()


def test_epochs_that_are_not_scored_are_neither_learned_from_nor_judged():
    rows, codes = rows_and_codes()
    gone = np.where(np.arange(300) % 2, codes, -1)
    with_, without = (fit_probe(r, c, 3)(rows) for r, c in ((rows, gone), (rows[1::2], codes[1::2])))
    np.testing.assert_allclose(with_, without, atol=1e-6)
    assert judge(gone, with_, "abc") == judge(codes[1::2], with_[1::2], "abc")
    with pytest.raises(EvaluationError, match="kind of probe"):
        fit_probe(rows, codes, 3, "forest")


def test_a_class_that_nobody_has_is_named_and_not_counted_as_zero():
    codes = np.array([0, 0, 1, 1])
    said = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.3, 0.7, 0.0], [0.2, 0.8, 0.0]])
    found = judge(codes, said, ("a", "b", "c"))
    assert (found.absent, found.mean_auroc, set(found.average_precision)) == (("c",), 1.0, {"a", "b"})
    none = judge(np.zeros(4, int), said[:, :2], ("none", "apnea"))
    assert none.absent == ("apnea",) and not none.auroc and np.isnan(none.mean_auroc)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auroc_is_the_chance_that_a_positive_is_above_a_negative(pairs):
    positive, score = np.array([p for p, _ in pairs]), np.array([s for _, s in pairs], float)
    above = [(a > b) + 0.5 * (a == b) for a in score[positive] for b in score[~positive]]
    found = auroc(positive, score)
    assert np.isnan(found) if not above else found == pytest.approx(np.mean(above))


def test_average_precision_of_a_guess_is_the_share_of_positives():
    random = np.random.default_rng(0)
    positive = random.random(20_000) < 0.05
    assert average_precision(positive, random.random(20_000)) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("kind", ["linear", "trees"])
def test_shuffled_labels_tell_nothing(kind):
    side, found = made_up(["a", "b", "c", "d"], 0, 250), []
    for seed in range(6):
        random = np.random.default_rng(seed)
        probe = fit_probe(side.rows["hand"][:500], random.permutation(side.targets["stage"][:500]), 5, kind)
        found.append(judge(side.targets["stage"][500:], probe(side.rows["hand"][500:]), "abcde").mean_auroc)
    assert abs(np.mean(found) - 0.5) < 0.03


def test_a_child_with_a_second_study_on_the_other_side_is_refused():
    with pytest.raises(EvaluationError, match="10007"):
        check_sides(["10007", "10138"], ["10269", "10007"])
    side = made_up(["10007", "10138"], 0)
    with pytest.raises(EvaluationError, match="no patient on both sides, found 10138"):
        learn(side, made_up(["10138"], 1), {"hand": Way(("hand",))}, (1,), n_jobs=1)


def test_labels_without_a_scored_epoch_are_refused():
    rows, _ = rows_and_codes(4)
    with pytest.raises(EvaluationError, match="labels: expected a scored epoch at least, found none"):
        fit_probe(rows, np.full(4, -1))


def test_all_ways_learn_from_the_same_draws_and_runs_repeat():
    train, test = made_up(["a", "b", "c", "d"], 0), made_up(["e", "f"], 1)
    ways = {"one": Way(("hand",)), "same": Way(("both",)), "two": Way(("random 0", "spectra"), sizes=(2,))}
    first, again = (learn(train, test, ways, (1, 2, ALL), 2, n_jobs=1) for _ in range(2))
    assert {key: len(runs) for key, runs in first.items()} == {
        ("one", 1): 2, ("same", 1): 2, ("one", 2): 2, ("same", 2): 2, ("two", 2): 4, ("one", ALL): 1, ("same", ALL): 1,
    }  # fmt: skip
    for size in (1, 2, ALL):
        for a, b, c in zip(first["one", size], first["same", size], again["one", size], strict=True):
            assert all((a[target] == b[target]).all() and (a[target] == c[target]).all() for target in a)
    with pytest.raises(EvaluationError, match="at most 4 people"):
        learn(train, test, ways, (5,), n_jobs=1)


def test_gains_are_of_the_same_people_and_an_event_that_nobody_has_does_not_count():
    train, test = made_up(["a", "b", "c"], 0), made_up(["e", "f", "g"], 1)
    test.targets["apnea"][:] = 0
    found = learn(train, test, {"hand": Way(("hand",)), "random": Way(("random 0",))}, (ALL,), n_jobs=1)
    hand, random = found["hand", ALL], found["random", ALL]
    own, other = stage_kappas(hand, test), stage_kappas(random, test)
    assert stage_kappa(hand, test, random).value == pytest.approx(np.mean([own[p] - other[p] for p in own]))
    assert np.isnan(event_auroc(hand, test, ("apnea",)).value)
    assert event_auroc(hand, test).value == pytest.approx(event_auroc(hand, test, EVENT_KINDS[1:]).value)
    gained = event_auroc(hand, test, against=random)
    assert gained.value == pytest.approx(event_auroc(hand, test).value - event_auroc(random, test).value)
    assert gained.low > 0.1


def test_components_are_found_on_the_first_rows_only():
    random = np.random.default_rng(0)
    rows = random.normal(0, 1, (80, 6))
    rows[::9, 2] = np.nan
    alone, (first, other) = pca_rows(rows[:50], n=3)[0], pca_rows(rows[:50], 100 + rows[50:], n=3)
    np.testing.assert_array_equal(alone, first)
    assert other.shape == (30, 3)


def test_figures_of_the_command_are_listed_by_way_and_size_with_all_last():
    train, test = made_up(["a", "b", "c"], 0), made_up(["e", "f"], 1)
    lines = probe_figures(train, test, (ALL, 1), 1, n_jobs=1)
    assert [(line["way"], line["patients"]) for line in lines][:3] == [("hand", 1), ("hand", ALL), ("embedding", 1)]
    figures = {line["way"]: line["figures"]["stage kappa"] for line in lines if line["patients"] == ALL}
    assert figures["hand"] > 0.4 > figures["random encoder"]
